//! `RaftNetworkFactory`: one client per session and lane, over pooled connections.

use std::marker::PhantomData;
use std::sync::Arc;

use openraft::{RaftNetworkFactory, RaftTypeConfig};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::PeerAddress;
use crate::client::PeerClient;
use crate::connection::{Lane, Place};
use crate::connector::Connector;
use crate::identity::LocalIdentity;
use crate::options::NetworkOptions;
use crate::pool::Pool;

/// The network that `Raft::new` wants. `SD` is the state machine's snapshot data.
///
/// Nothing is dialled before an RPC needs it. Every peer gets up to three connections: replication
/// and votes, heartbeats, snapshots.
pub struct GrpcNetwork<C: RaftTypeConfig, SD> {
    identity: LocalIdentity<C::NodeId>,
    options: Arc<NetworkOptions>,
    pool: Arc<Pool<C>>,
    _snapshot: PhantomData<fn() -> SD>,
}

/// Tells the connections of a [`GrpcNetwork`] where the members are now. Cheap to clone.
///
/// openraft keeps a replication session when only a member's address or incarnation changes, so the
/// application must pass every new membership on.
pub struct PeerPlaces<C: RaftTypeConfig> {
    pool: Arc<Pool<C>>,
}

impl<C: RaftTypeConfig> Clone for PeerPlaces<C> {
    fn clone(&self) -> Self {
        Self { pool: Arc::clone(&self.pool) }
    }
}

impl<C: RaftTypeConfig> PeerPlaces<C>
where
    C::Node: PeerAddress,
{
    /// `node` is what the membership says of `target`. The next call goes there.
    pub fn follow(&self, target: &C::NodeId, node: &C::Node) {
        self.pool.moved(target, place(node));
    }
}

impl<C: RaftTypeConfig> PeerPlaces<C> {
    /// `target` may be at `address` (`host:port`) if it is not where the membership says. To be
    /// said before the first call. Only the member that is meant answers there, so a wrong address
    /// does no harm.
    pub fn also_at(&self, target: &C::NodeId, address: impl Into<String>) {
        self.pool.also_at(target, address.into());
    }
}

impl<C: RaftTypeConfig, SD> GrpcNetwork<C, SD> {
    /// The network of this node. Every request carries its cluster, its own id and incarnation, and
    /// those of the peer; while it belongs to no cluster, nothing is sent.
    pub fn new(identity: LocalIdentity<C::NodeId>, options: NetworkOptions) -> Self {
        Self::over(identity, options, None)
    }

    /// The same over connections that `connector` makes.
    pub fn with_connector(
        identity: LocalIdentity<C::NodeId>,
        options: NetworkOptions,
        connector: Arc<dyn Connector<C::NodeId>>,
    ) -> Self {
        Self::over(identity, options, Some(connector))
    }

    fn over(
        identity: LocalIdentity<C::NodeId>,
        options: NetworkOptions,
        connector: Option<Arc<dyn Connector<C::NodeId>>>,
    ) -> Self {
        let options = Arc::new(options);
        let pool = Arc::new(Pool::new(Arc::clone(&options), connector));
        Self { identity, pool, options, _snapshot: PhantomData }
    }

    /// The way to tell it of members that have moved.
    #[must_use]
    pub fn places(&self) -> PeerPlaces<C> {
        PeerPlaces { pool: Arc::clone(&self.pool) }
    }

    fn client(&self, target: &C::NodeId, node: &C::Node, lane: Lane) -> PeerClient<C, SD>
    where
        C::Node: PeerAddress,
    {
        let connection = self.pool.get(target, place(node), lane);
        PeerClient::new(target, &self.identity, connection, lane, Arc::clone(&self.options))
    }
}

fn place<N: PeerAddress>(node: &N) -> Place {
    Place { address: node.raft_addr().to_owned(), alternative: None, incarnation: node.incarnation() }
}

impl<C, SD> RaftNetworkFactory<C> for GrpcNetwork<C, SD>
where
    C: RaftTypeConfig,
    C::Node: PeerAddress,
    SD: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
{
    type Network = PeerClient<C, SD>;

    async fn new_client(&mut self, target: C::NodeId, node: &C::Node) -> Self::Network {
        self.client(&target, node, Lane::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: C::NodeId, node: &C::Node) -> Self::Network {
        self.client(&target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: C::NodeId, node: &C::Node) -> Self::Network {
        self.client(&target, node, Lane::Snapshot)
    }
}
