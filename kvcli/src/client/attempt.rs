//! One request to one address: dialled if need be, sent, and answered or not.

use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::connections::{Connection, Link};
use super::names::Address;
use super::terms::Terms;
use super::wire::{ResponseHeader, node};
use super::{Cause, Client, ClusterId, Failure, TraceId};

/// What an answer says about who gave it, whichever protocol it is from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    pub(super) cluster_id: &'a str,
    pub(super) node_id: u64,
    pub(super) leader_addr: &'a str,
    pub(super) term: u64,
}

impl<'a> From<&'a ResponseHeader> for Header<'a> {
    fn from(header: &'a ResponseHeader) -> Self {
        let ResponseHeader { cluster_id, node_id, leader_addr, term, .. } = header;
        Self { cluster_id, node_id: *node_id, leader_addr, term: *term }
    }
}

impl<'a> From<&'a node::ResponseHeader> for Header<'a> {
    fn from(header: &'a node::ResponseHeader) -> Self {
        let node::ResponseHeader { cluster_id, node_id, leader_addr, term, .. } = header;
        Self { cluster_id, node_id: *node_id, leader_addr, term: *term }
    }
}

/// An answer that may name the leader, and the cluster.
pub(super) trait Answer {
    fn header(&self) -> Option<Header<'_>>;

    /// The cluster of the node that answered; none if it belongs to none, or says nonsense.
    fn cluster(&self) -> Option<ClusterId> {
        self.header()?.cluster_id.parse().ok()
    }
}

/// What is the same for all attempts of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub(super) trace: TraceId,
    /// Say which cluster is meant, if that is known.
    pub(super) names_cluster: bool,
}

impl Client {
    /// Sends a request to `address` once; by `until` there is an answer, or the attempt has
    /// failed.
    pub(super) async fn attempt<T, F, Fut>(
        &self,
        address: &Address,
        until: Instant,
        sending: Sending,
        send: &F,
    ) -> Result<T, Failure>
    where
        F: Fn(Link, Terms) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let connection = self.shared.connections.get(address, until).await?;
        let time_left = until.saturating_duration_since(Instant::now());
        let cluster = self.shared.identity.known().filter(|_| sending.names_cluster);
        let token = self.shared.options.token.clone();
        let terms = Terms { time_left, trace: sending.trace, cluster, token };
        match timeout_at(until, send(connection.link.clone(), terms)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(self.broken(address, &connection, status, until).await),
            Err(_elapsed) => {
                // A node answers in time, if only with a failure: the stream may be at fault.
                connection.link.session.forget();
                Err(Failure { endpoint: address.endpoint.clone(), cause: Cause::NoAnswer })
            }
        }
    }

    async fn broken(
        &self,
        address: &Address,
        connection: &Connection,
        status: Status,
        until: Instant,
    ) -> Failure {
        let failure = Failure::status(&address.endpoint, self.shared.connections.judged(status));
        if failure.breaks_connection() {
            self.shared.connections.discard(address, connection, until).await;
        }
        failure
    }
}
