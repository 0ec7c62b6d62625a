//! A peer that answers as a test tells it to.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use network_grpc::{MAX_MESSAGE_BYTES, incoming, server_builder};
use proto::raft::v1 as pb;
use proto::raft::v1::raft_server::{Raft, RaftServer};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, Streaming};

use super::options;

pub type Answers = Pin<Box<dyn Stream<Item = Result<pb::AppendResponse, Status>> + Send>>;
type OnStream = dyn Fn(Streaming<pb::AppendRequest>) -> Answers + Send + Sync;

/// Append streams and unary appends are scripted; everything else is unimplemented.
pub struct Scripted {
    pub on_stream: Box<OnStream>,
    pub append: pb::AppendResponse,
}

pub fn success() -> pb::AppendResponse {
    outcome(pb::append_response::Result::Success(pb::AppendSuccess::default()))
}

pub fn outcome(result: pb::append_response::Result) -> pb::AppendResponse {
    pb::AppendResponse { result: Some(result) }
}

impl Scripted {
    pub fn streaming(
        on_stream: impl Fn(Streaming<pb::AppendRequest>) -> Answers + Send + Sync + 'static,
    ) -> Self {
        Self { on_stream: Box::new(on_stream), append: success() }
    }

    /// Serves on a free port; returns the address.
    pub async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = RaftServer::from_arc(Arc::new(self))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let server = server_builder(&options()).add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming(listener)));
        address
    }
}

#[tonic::async_trait]
impl Raft for Scripted {
    type StreamAppendStream = Answers;

    async fn stream_append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Ok(Response::new((self.on_stream)(request.into_inner())))
    }

    async fn append(&self, _: Request<pb::AppendRequest>) -> Result<Response<pb::AppendResponse>, Status> {
        Ok(Response::new(self.append.clone()))
    }

    async fn vote(&self, _: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        Err(Status::unimplemented("vote"))
    }

    async fn pre_vote(&self, _: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        Err(Status::unimplemented("pre_vote"))
    }

    async fn transfer_leader(
        &self,
        _: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        Err(Status::unimplemented("transfer_leader"))
    }

    async fn install_snapshot(
        &self,
        _: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        Err(Status::unimplemented("install_snapshot"))
    }
}
