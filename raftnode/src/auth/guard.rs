//! The one place that every request of every service passes before a service sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Json, Response};
use serde_json::json;
use tonic::metadata::MetadataValue;

use super::credential::Credential;
use super::refusals::Reason;
use super::{Auth, Caller, Needs, NeedsOf, Refusals};
use crate::api::{NODE_ID_METADATA, NOT_APPLIED_METADATA};
use crate::connections::Origin;
use crate::raft::NodeId;

/// Guards one port.
#[derive(Clone)]
pub(crate) struct Guard(Arc<Guarding>);

struct Guarding {
    auth: Auth,
    needs: NeedsOf,
    refusals: Arc<Refusals>,
    answers: Answers,
}

/// In which protocol a refusal is told.
#[derive(Debug, Clone, Copy)]
enum Answers {
    Grpc(NodeId),
    Http,
}

impl Guard {
    /// Of the port for clients of this node.
    pub(crate) fn of_grpc(auth: &Auth, needs: NeedsOf, refusals: &Arc<Refusals>, own: NodeId) -> Self {
        Self::new(auth, needs, refusals, Answers::Grpc(own))
    }

    /// Of the port for HTTP.
    pub(crate) fn of_http(auth: &Auth, refusals: &Arc<Refusals>) -> Self {
        Self::new(auth, NeedsOf::http(), refusals, Answers::Http)
    }

    fn new(auth: &Auth, needs: NeedsOf, refusals: &Arc<Refusals>, answers: Answers) -> Self {
        Self(Arc::new(Guarding { auth: auth.clone(), needs, refusals: Arc::clone(refusals), answers }))
    }
}

/// The same paths, behind the guard: those that are known to the router, and all others.
pub(crate) fn guarded(router: Router, guard: Guard) -> Router {
    router.layer(middleware::from_fn_with_state(guard, check))
}

async fn check(State(Guard(guard)): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.judge(&request) {
        Ok(Some(caller)) => drop(request.extensions_mut().insert(caller)),
        // It needs nothing, and so is told nothing.
        Ok(None) => {}
        Err(reason) => {
            let from = client(&request);
            guard.refusals.note(&reason, from);
            let refusal = guard.refusal(&reason, may_ask_for_password(&guard, &request));
            // With its body, which may be endless.
            drop(request);
            guard.refusals.hold_back().await;
            return refusal;
        }
    }
    next.run(request).await
}

impl Guarding {
    /// Who asks, if that matters, or why the request is refused.
    fn judge<'a>(&self, request: &'a Request) -> Result<Option<Caller>, Reason<'a>> {
        let Some(shared) = self.auth.shared() else { return Ok(Some(Caller::unrestricted())) };
        let path = request.uri().path();
        let needs = self.needs.of(path);
        if needs == Needs::Nothing {
            return Ok(None);
        }
        let origin = request.extensions().get::<Origin>();
        let presented = Credential::of(request.method(), request.headers(), origin, shared.over_plaintext);
        let caller = presented.and_then(|credential| Caller::identified(shared, &self.refusals, credential));
        let caller = caller.map_err(Reason::Unproven)?;
        if let Needs::Right(right) = needs {
            caller.check(right, path)?;
        }
        Ok(Some(caller))
    }

    fn refusal(&self, reason: &Reason<'_>, may_ask_for_password: bool) -> Response {
        match self.answers {
            Answers::Grpc(own) => {
                let mut status = reason.status();
                status.metadata_mut().insert(NODE_ID_METADATA, own.into());
                status.metadata_mut().insert(NOT_APPLIED_METADATA, MetadataValue::from_static("1"));
                let (parts, ()) = status.into_http::<()>().into_parts();
                Response::from_parts(parts, Body::empty())
            }
            Answers::Http => http_refusal(reason, may_ask_for_password),
        }
    }
}

fn http_refusal(reason: &Reason<'_>, may_ask_for_password: bool) -> Response {
    const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
    const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"node: any name, and a token\"");
    let body = Json(json!({ "error": reason.to_string(), "applied": "no" }));
    if !reason.is_unproven() {
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
    response.headers_mut().append(header::WWW_AUTHENTICATE, BEARER);
    if may_ask_for_password {
        response.headers_mut().append(header::WWW_AUTHENTICATE, BASIC);
    }
    response
}

/// A browser that is asked this way asks its user for a token: not where it would be readable.
fn may_ask_for_password(guard: &Guarding, request: &Request) -> bool {
    let is_encrypted = request.extensions().get::<Origin>().is_some_and(|origin| origin.is_encrypted);
    request.method().is_safe()
        && (is_encrypted || guard.auth.shared().is_some_and(|shared| shared.over_plaintext))
}

fn client(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<Origin>().and_then(|origin| origin.peer)
}
