//! The connections of one node, shared by all the clients openraft makes (one per session or vote).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::RaftTypeConfig;

use crate::connection::{Connection, Lane};
use crate::options::{MAX_POOLED_CONNECTIONS, NetworkOptions};

type Connections<C> = BTreeMap<(<C as RaftTypeConfig>::NodeId, Lane), Arc<Connection>>;

/// Invariant: at most one connection per peer and lane, to the address that was asked for last; no
/// more than [`MAX_POOLED_CONNECTIONS`] unless more are in use.
pub(crate) struct Pool<C: RaftTypeConfig> {
    options: Arc<NetworkOptions>,
    connections: Mutex<Connections<C>>,
}

impl<C: RaftTypeConfig> Pool<C> {
    pub(crate) fn new(options: Arc<NetworkOptions>) -> Self {
        Self { options, connections: Mutex::default() }
    }

    /// The connection for this lane of `target`, not dialled yet if it is new.
    pub(crate) fn get(&self, target: &C::NodeId, address: &str, lane: Lane) -> Arc<Connection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.clone(), lane);
        if let Some(known) = connections.get(&key).filter(|c| c.address == address) {
            return Arc::clone(known);
        }
        if connections.len() >= MAX_POOLED_CONNECTIONS {
            connections.retain(|_, c| Arc::strong_count(c) > 1);
        }
        let connection = Arc::new(Connection::new(address, lane, Arc::clone(&self.options)));
        connections.insert(key, Arc::clone(&connection));
        connection
    }
}
