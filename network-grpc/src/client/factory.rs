//! `RaftNetworkFactory`: one client per session and lane, over pooled connections.

use std::marker::PhantomData;
use std::sync::Arc;

use openraft::{RaftNetworkFactory, RaftTypeConfig};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::PeerAddress;
use crate::client::PeerClient;
use crate::connection::Lane;
use crate::options::NetworkOptions;
use crate::pool::Pool;

/// The network that `Raft::new` wants. `SD` is the state machine's snapshot data.
///
/// Nothing is dialled before an RPC needs it. Every peer gets up to three connections: replication
/// and votes, heartbeats, snapshots.
pub struct GrpcNetwork<C: RaftTypeConfig, SD> {
    cluster_id: Arc<str>,
    options: Arc<NetworkOptions>,
    pool: Pool<C>,
    _snapshot: PhantomData<fn() -> SD>,
}

impl<C: RaftTypeConfig, SD> GrpcNetwork<C, SD> {
    /// A network for a member of the cluster `cluster_id`, which every request carries.
    pub fn new(cluster_id: impl Into<Arc<str>>, options: NetworkOptions) -> Self {
        let options = Arc::new(options);
        Self {
            cluster_id: cluster_id.into(),
            pool: Pool::new(Arc::clone(&options)),
            options,
            _snapshot: PhantomData,
        }
    }

    fn client(&self, target: &C::NodeId, node: &C::Node, lane: Lane) -> PeerClient<C, SD>
    where
        C::Node: PeerAddress,
    {
        let connection = self.pool.get(target, node.raft_addr(), lane);
        let options = Arc::clone(&self.options);
        PeerClient::new(target, Arc::clone(&self.cluster_id), connection, lane, options)
    }
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
