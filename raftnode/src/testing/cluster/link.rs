//! openraft's network over a [`Network`].

use std::future::Future;
use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2, Snapshot};
use storage_leveldb::SnapshotFile;
use tokio::io::AsyncWriteExt as _;

use super::flaw::Flaw;
use super::network::Network;
use super::port::Port;
use crate::raft::{Member, NodeId, TypeConfig};

/// A link that failed is tried again after this long.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What a link is for; openraft asks for a link of its own for heartbeats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Heartbeat,
    Entries,
}

/// The links that begin at one node.
pub(super) struct Peers {
    pub(super) network: Network,
    pub(super) from: NodeId,
    pub(super) flaw: Option<Flaw>,
}

/// One link.
pub(super) struct Link {
    network: Network,
    from: NodeId,
    to: NodeId,
    lane: Lane,
    flaw: Option<Flaw>,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Link;

    async fn new_client(&mut self, to: NodeId, _: &Member) -> Link {
        let (network, from, flaw) = (self.network.clone(), self.from, self.flaw);
        Link { network, from, to, lane: Lane::Entries, flaw }
    }

    async fn new_heartbeat_client(&mut self, to: NodeId, node: &Member) -> Link {
        Link { lane: Lane::Heartbeat, ..self.new_client(to, node).await }
    }
}

fn failed(reason: impl std::fmt::Display) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(reason.to_string()))
}

impl Link {
    async fn call<T, E, F>(
        &self,
        option: &RPCOption,
        ask: impl FnOnce(Port) -> F + Send + 'static,
    ) -> Result<T, RPCError<TypeConfig>>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let answer = self.network.call((self.from, self.to), option.soft_ttl(), ask).await;
        answer.map_err(failed)?.map_err(failed)
    }
}

impl Link {
    /// What was answered; of a flawed node, a vote where nothing was.
    fn or_silence(
        &self,
        asked: Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>>,
        granted: VoteResponse<TypeConfig>,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        if self.flaw == Some(Flaw::LoneElections) { asked.or(Ok(granted)) } else { asked }
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        if self.lane == Lane::Entries && self.network.is_mute(self.from) {
            tokio::time::sleep(option.soft_ttl()).await;
            return Err(failed(format_args!("entries of node {} are lost", self.from)));
        }
        self.call(&option, |peer| async move { peer.raft.append_entries(rpc).await }).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let granted = VoteResponse::new(rpc.vote, rpc.last_log_id, true);
        let asked = self.call(&option, |peer| async move { peer.raft.vote(rpc).await }).await;
        self.or_silence(asked, granted)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let granted = VoteResponse::new(rpc.vote, rpc.last_log_id, true);
        let asked = self.call(&option, |peer| async move { peer.raft.pre_vote(rpc).await }).await;
        self.or_silence(asked, granted)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let install = move |peer: Port| async move {
            let Snapshot { meta, snapshot: mut sent } = snapshot;
            let text = |e: std::io::Error| e.to_string();
            let mut received = peer.inbox.create_for(&meta).await.map_err(text)?;
            tokio::io::copy(&mut sent, &mut received).await.map_err(text)?;
            received.shutdown().await.map_err(text)?;
            let snapshot = Snapshot { meta, snapshot: received };
            peer.raft.install_full_snapshot(vote, snapshot).await.map_err(|e| e.to_string())
        };
        self.call(&option, install).await.map_err(StreamingError::from)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let ask = |peer: Port| async move { peer.raft.handle_transfer_leader(request).await };
        self.call(&option, ask).await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_PAUSE)))
    }
}
