//! openraft's network between nodes of one process. Every direction between two nodes can be cut.
//!
//! Knows no storage and no application; time is tokio's, also when a test has stopped the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::{SnapshotOf, VoteOf};
use openraft::{OptionalSend, Raft, RaftNetworkFactory, RaftNetworkV2, RaftTypeConfig};

/// A message takes this long.
const LATENCY: Duration = Duration::from_micros(500);
/// A link that failed is tried again after this long.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The links of one cluster. Cheap to clone; clones are one network.
pub struct SimNetwork<C: RaftTypeConfig, SM: RaftStateMachine<C>>(Arc<Mutex<Links<C, SM>>>);

impl<C: RaftTypeConfig, SM: RaftStateMachine<C>> Clone for SimNetwork<C, SM> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Invariant: only members of `nodes` are ever reached.
struct Links<C: RaftTypeConfig, SM: RaftStateMachine<C>> {
    nodes: BTreeMap<C::NodeId, Raft<C, SM>>,
    /// From, to.
    cut: BTreeSet<(C::NodeId, C::NodeId)>,
    /// Entries from these go nowhere; their heartbeats do.
    mute: BTreeSet<C::NodeId>,
}

impl<C: RaftTypeConfig, SM: RaftStateMachine<C>> Default for SimNetwork<C, SM> {
    fn default() -> Self {
        let links = Links { nodes: BTreeMap::new(), cut: BTreeSet::new(), mute: BTreeSet::new() };
        Self(Arc::new(Mutex::new(links)))
    }
}

impl<C: RaftTypeConfig, SM: RaftStateMachine<C>> SimNetwork<C, SM> {
    fn links(&self) -> MutexGuard<'_, Links<C, SM>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What node `from` gives to openraft.
    pub fn peers_of(&self, from: C::NodeId) -> SimPeers<C, SM> {
        SimPeers { network: self.clone(), from }
    }

    /// From now on `raft` is reached as node `id`.
    pub fn connect(&self, id: C::NodeId, raft: Raft<C, SM>) {
        self.links().nodes.insert(id, raft);
    }

    /// Nothing reaches node `id` any more: it is dead.
    pub fn disconnect(&self, id: &C::NodeId) -> Option<Raft<C, SM>> {
        self.links().nodes.remove(id)
    }

    /// What `from` sends to `to` is lost.
    pub fn cut(&self, from: C::NodeId, to: C::NodeId) {
        self.links().cut.insert((from, to));
    }

    /// Entries that `from` sends are lost, and its heartbeats arrive.
    pub fn mute(&self, from: C::NodeId) {
        self.links().mute.insert(from);
    }

    /// Every link works again.
    pub fn heal(&self) {
        let mut links = self.links();
        links.cut.clear();
        links.mute.clear();
    }

    fn passes(&self, from: &C::NodeId, to: &C::NodeId) -> bool {
        !self.links().cut.contains(&(from.clone(), to.clone()))
    }
}

/// What a link is for; openraft asks for a link of its own for heartbeats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Heartbeat,
    Entries,
}

/// The links that begin at one node.
pub struct SimPeers<C: RaftTypeConfig, SM: RaftStateMachine<C>> {
    network: SimNetwork<C, SM>,
    from: C::NodeId,
}

/// One link.
pub struct SimLink<C: RaftTypeConfig, SM: RaftStateMachine<C>> {
    network: SimNetwork<C, SM>,
    from: C::NodeId,
    to: C::NodeId,
    lane: Lane,
}

impl<C, SM> RaftNetworkFactory<C> for SimPeers<C, SM>
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
    SM::SnapshotData: Send + Sync,
{
    type Network = SimLink<C, SM>;

    async fn new_client(&mut self, to: C::NodeId, _: &C::Node) -> Self::Network {
        let (network, from) = (self.network.clone(), self.from.clone());
        SimLink { network, from, to, lane: Lane::Entries }
    }

    async fn new_heartbeat_client(&mut self, to: C::NodeId, node: &C::Node) -> Self::Network {
        SimLink { lane: Lane::Heartbeat, ..self.new_client(to, node).await }
    }
}

impl<C: RaftTypeConfig, SM: RaftStateMachine<C>> SimLink<C, SM> {
    /// There and back. What is lost costs the sender its deadline, as it does on a real network.
    async fn call<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        option: &RPCOption,
        ask: impl FnOnce(Raft<C, SM>) -> F,
    ) -> Result<T, RPCError<C>> {
        let (from, to) = (&self.from, &self.to);
        let there_and_back = async {
            tokio::time::sleep(LATENCY).await;
            if !self.network.passes(from, to) {
                return pending().await;
            }
            let peer = self.network.links().nodes.get(to).cloned();
            let peer = peer.ok_or_else(|| failed::<C>(format!("node {to} is dead")))?;
            let answer = ask(peer).await.map_err(|e| failed::<C>(format!("node {to}: {e}")))?;
            tokio::time::sleep(LATENCY).await;
            if self.network.passes(to, from) { Ok(answer) } else { pending().await }
        };
        match tokio::time::timeout(option.soft_ttl(), there_and_back).await {
            Ok(answered) => answered,
            Err(_) => Err(failed::<C>(format!("node {to} does not answer node {from}"))),
        }
    }
}

fn failed<C: RaftTypeConfig>(reason: String) -> RPCError<C> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

impl<C, SM> RaftNetworkV2<C> for SimLink<C, SM>
where
    C: RaftTypeConfig,
    SM: RaftStateMachine<C>,
    SM::SnapshotData: Send + Sync,
{
    type SnapshotData = SM::SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<C>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<C>, RPCError<C>> {
        if self.lane == Lane::Entries && self.network.links().mute.contains(&self.from) {
            tokio::time::sleep(option.soft_ttl()).await;
            return Err(failed::<C>(format!("entries of node {} are lost", self.from)));
        }
        self.call(&option, |peer| async move { peer.append_entries(rpc).await }).await
    }

    async fn vote(&mut self, rpc: VoteRequest<C>, option: RPCOption) -> Result<VoteResponse<C>, RPCError<C>> {
        self.call(&option, |peer| async move { peer.vote(rpc).await }).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<C>,
        option: RPCOption,
    ) -> Result<VoteResponse<C>, RPCError<C>> {
        self.call(&option, |peer| async move { peer.pre_vote(rpc).await }).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<C>,
        snapshot: SnapshotOf<C, SM::SnapshotData>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<C>, StreamingError<C>> {
        let install = |peer: Raft<C, SM>| async move { peer.install_full_snapshot(vote, snapshot).await };
        self.call(&option, install).await.map_err(StreamingError::from)
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<C>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<C>, RPCError<C>> {
        self.call(&option, |peer| async move { peer.handle_transfer_leader(req).await }).await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_PAUSE)))
    }
}
