//! Which connections have a request under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use network_grpc::CertifiedSender;

use super::Origin;
use super::clock::dated;
use super::places::UnderWay;

/// The same paths, whose requests count as under way on the connection that they came over: those
/// that carry its [`Origin`]. They carry the node that it is from, too, if that has proved itself.
pub(crate) fn counted(router: Router) -> Router {
    router.layer(middleware::map_response(dated)).layer(middleware::from_fn(count))
}

/// In the extensions of an answer: its stream is open for as long as its client likes, and says by
/// itself when a request is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongLived;

async fn count(mut request: Request, next: Next) -> Response {
    let origin = request.extensions().get::<Origin>().cloned();
    let under_way = origin.as_ref().map(|origin| origin.requests.begin());
    if let Some(node) = origin.and_then(|origin| origin.node) {
        request.extensions_mut().insert(CertifiedSender(node));
    }
    let response = next.run(request).await;
    if response.extensions().get::<LongLived>().is_some() {
        return response;
    }
    response.map(|body| Body::new(Counted { body, _under_way: under_way }))
}

/// The body of an answer. A stream's request is under way until the last of it is sent, or
/// nothing will be.
struct Counted {
    body: Body,
    _under_way: Option<UnderWay>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
