//! `raft.v1.Raft` in front of a local `openraft::Raft`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use openraft::raft::{AppendEntriesResponse, VoteRequest};
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::SnapshotMetaOf;
use openraft::{Raft, RaftTypeConfig};
use proto::raft::v1 as pb;
use proto::raft::v1::raft_server::RaftServer;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Request, Response, Status, Streaming};

use crate::address::PeerAddress;
use crate::identity::LocalIdentity;
use crate::options::{MAX_MESSAGE_BYTES, NetworkOptions};
use crate::server::identity::{Addressee, CertifiedSender, Envelope};
use crate::server::snapshot::Receiver;
use crate::server::{admission, append};
use crate::wire;

/// Serves the peers of one node. `F` makes the place that a received snapshot is written to, of the
/// metadata with which it was announced; what it makes is dropped unfinished if the transfer fails,
/// and should then clean up after itself. Its `shutdown` should fail if what was written is not the
/// snapshot that was announced: one that openraft cannot install stops it.
pub struct RaftService<C: RaftTypeConfig, SM: RaftStateMachine<C>, F> {
    raft: Raft<C, SM>,
    addressee: Arc<Addressee<C>>,
    snapshots: Receiver<C, SM>,
    snapshot_factory: F,
}

impl<C, SM, F> RaftService<C, SM, F>
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
    SM::SnapshotData: AsyncWrite + Unpin + Send,
{
    /// A service for the node `identity`, which is `raft`. Requests that are not for this member of
    /// this cluster are refused before they have any effect. The observer of `options` hears what
    /// peers think of this node.
    pub fn new(
        raft: Raft<C, SM>,
        identity: LocalIdentity<C::NodeId>,
        snapshot_factory: F,
        options: NetworkOptions,
    ) -> Self {
        let addressee = Arc::new(Addressee::new(identity, Arc::clone(&options.observer)));
        let snapshots = Receiver::new(raft.clone(), Arc::clone(&addressee), Arc::new(options));
        Self { raft, addressee, snapshots, snapshot_factory }
    }
}

impl<C, SM, F, Fut> RaftService<C, SM, F>
where
    C: RaftTypeConfig,
    C::Node: PeerAddress,
    SM: RaftStateMachine<C>,
    SM::SnapshotData: AsyncRead + AsyncWrite + Unpin + Send + Sync,
    F: Fn(SnapshotMetaOf<C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<SM::SnapshotData>> + Send,
{
    /// An earlier incarnation of a member may still be running somewhere, with the same node id:
    /// votes that two nodes ask for under one id could be counted together. A *later* incarnation
    /// than this node knows of is a member that has joined since, so it is heard.
    async fn check_candidate(&self, envelope: &Envelope<C>) -> Result<(), Status> {
        let sender = envelope.sender.clone();
        let known = self
            .raft
            .with_raft_state(move |state| {
                let membership = state.membership_state.effective();
                membership.get_node(&sender).and_then(PeerAddress::incarnation)
            })
            .await
            .map_err(|e| append::stopped(&e))?;
        if known <= envelope.sender_incarnation {
            return Ok(());
        }
        Err(Status::failed_precondition(format!(
            "node {} was replaced: the membership knows it with another data directory",
            envelope.sender
        )))
    }

    /// The vote that a peer asks for, if it may ask.
    async fn candidacy(&self, request: Request<pb::VoteRequest>) -> Result<VoteRequest<C>, Status> {
        let (certified, message) = parts::<C, _>(request);
        self.check_candidate(&self.addressee.check(message.header.as_ref(), certified.as_ref())?).await?;
        admission::vote(self.addressee.node_id(), &message.body)
    }

    /// The tonic service, message limits set. Add it to [`server_builder`](crate::server_builder).
    pub fn into_server(self) -> RaftServer<Self> {
        RaftServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// Whom the connection's certificate is of, if a listener has verified one, and the message.
fn parts<C: RaftTypeConfig, T>(request: Request<T>) -> (Option<CertifiedSender<C::NodeId>>, T) {
    (request.extensions().get().cloned(), request.into_inner())
}

fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes, Status> {
    wire::encode(value).map_err(|e| Status::internal(e.to_string()))
}

#[tonic::async_trait]
impl<C, SM, F, Fut> pb::raft_server::Raft for RaftService<C, SM, F>
where
    C: RaftTypeConfig,
    C::Node: PeerAddress,
    SM: RaftStateMachine<C>,
    SM::SnapshotData: AsyncRead + AsyncWrite + Unpin + Send + Sync,
    F: Fn(SnapshotMetaOf<C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<SM::SnapshotData>> + Send,
{
    type StreamAppendStream =
        Pin<Box<dyn Stream<Item = Result<pb::AppendResponse, Status>> + Send + 'static>>;

    async fn stream_append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let addressee = Arc::clone(&self.addressee);
        let (certified, messages) = parts::<C, _>(request);
        let answers = append::stream(self.raft.clone(), addressee, certified, messages);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn append(
        &self,
        request: Request<pb::AppendRequest>,
    ) -> Result<Response<pb::AppendResponse>, Status> {
        let (certified, message) = parts::<C, _>(request);
        let leader = self.addressee.check(message.header.as_ref(), certified.as_ref())?.sender;
        let request = admission::append(self.addressee.node_id(), &message)?;
        let heartbeat = request.prev_log_id.clone().filter(|_| request.entries.is_empty());
        let answer = self.raft.append_entries(request).await.map_err(|e| append::stopped(&e))?;
        // A heartbeat says what the leader has been told by this node in this term: a log that
        // lacks it has lost it. (A leader that looks for where two logs part asks over a stream.)
        if let (Some(acknowledged), AppendEntriesResponse::Conflict) = (heartbeat, &answer) {
            let what = format!("{acknowledged}, as leader {leader} knows");
            self.addressee.observer.lacks_acknowledged(&what);
        }
        append::encode::<C>(answer).map(Response::new)
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        let request = self.candidacy(request).await?;
        let answer = self.raft.vote(request).await.map_err(|e| append::stopped(&e))?;
        Ok(Response::new(pb::VoteResponse { body: encode(&answer)? }))
    }

    async fn pre_vote(
        &self,
        request: Request<pb::VoteRequest>,
    ) -> Result<Response<pb::VoteResponse>, Status> {
        let request = self.candidacy(request).await?;
        let answer = self.raft.pre_vote(request).await.map_err(|e| append::stopped(&e))?;
        Ok(Response::new(pb::VoteResponse { body: encode(&answer)? }))
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let (certified, message) = parts::<C, _>(request);
        self.addressee.check(message.header.as_ref(), certified.as_ref())?;
        let request = admission::transfer(self.addressee.node_id(), &message.body)?;
        let answer = self.raft.handle_transfer_leader(request).await.map_err(|e| append::stopped(&e))?;
        Ok(Response::new(pb::TransferLeaderResponse { body: encode(&answer)? }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::SnapshotResponse>, Status> {
        let (certified, chunks) = parts::<C, _>(request);
        let place = &self.snapshot_factory;
        self.snapshots.receive(chunks, certified.as_ref(), place).await.map(Response::new)
    }
}
