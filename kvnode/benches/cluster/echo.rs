//! A server that answers every operation at once: what the protocol itself costs.

use std::pin::Pin;

use proto::kv::v1::kv_server::{Kv, KvServer};
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use proto::kv::v1::{
    DeleteRequest, DeleteResponse, GetRequest, GetResponse, Operation, OperationResponse, Pair, PutRequest,
    PutResponse, ScanRequest, ScanResponse, SessionRequest, SessionResponse,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// Bytes of every value.
const VALUE_BYTES: usize = 256;

struct Echo;

/// Starts it in this process; answers where it serves.
pub(crate) fn start() -> String {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap().to_string()).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = tonic::transport::Server::builder().add_service(KvServer::new(Echo));
            server.serve_with_incoming(incoming).await.unwrap();
        });
    });
    address.recv().unwrap()
}

fn put() -> PutResponse {
    PutResponse::default()
}

fn get(request: GetRequest) -> GetResponse {
    let value = bytes::Bytes::from_static(&[b'v'; VALUE_BYTES]);
    let pair = Pair { key: request.key, value, create_revision: 1, mod_revision: 123_456, version: 1 };
    GetResponse { header: None, pair: Some(pair) }
}

fn answer(operation: Operation) -> OperationResponse {
    let response = match operation.request {
        Some(Asked::Put(_)) => Answer::Put(put()),
        Some(Asked::Get(request)) => Answer::Get(get(request)),
        other => panic!("kvcli bench asks for no {other:?}"),
    };
    OperationResponse { id: operation.id, response: Some(response) }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Kv for Echo {
    type ScanStream = Answers<ScanResponse>;
    type SessionStream = Answers<SessionResponse>;

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(put()))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Ok(Response::new(get(request.into_inner())))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Ok(Response::new(DeleteResponse::default()))
    }

    async fn scan(&self, _: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        Err(Status::unimplemented("nothing is stored"))
    }

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let responses = message?.operations.into_iter().map(answer).collect();
            Ok(SessionResponse { responses, ..SessionResponse::default() })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
