//! The connections of one node, shared by all the clients openraft makes (one per session or vote).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::RaftTypeConfig;

use crate::connection::{Connection, Lane, Place, Way};
use crate::connector::Connector;
use crate::options::{MAX_POOLED_CONNECTIONS, NetworkOptions};

type Connections<C> = BTreeMap<(<C as RaftTypeConfig>::NodeId, Lane), Arc<Connection>>;

/// Invariant: at most one connection per peer and lane; no more than [`MAX_POOLED_CONNECTIONS`]
/// unless more are in use.
pub(crate) struct Pool<C: RaftTypeConfig> {
    options: Arc<NetworkOptions>,
    connector: Option<Arc<dyn Connector<C::NodeId>>>,
    connections: Mutex<Connections<C>>,
    /// Where a peer may be as well, whatever the membership says.
    alternatives: Mutex<BTreeMap<C::NodeId, String>>,
}

impl<C: RaftTypeConfig> Pool<C> {
    pub(crate) fn new(
        options: Arc<NetworkOptions>,
        connector: Option<Arc<dyn Connector<C::NodeId>>>,
    ) -> Self {
        Self { options, connector, connections: Mutex::default(), alternatives: Mutex::default() }
    }

    /// The connection for this lane of `target`, not dialled yet if it is new.
    pub(crate) fn get(&self, target: &C::NodeId, place: Place, lane: Lane) -> Arc<Connection> {
        let place = self.completed(target, place);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = connections.get(&(target.clone(), lane)) {
            known.moved_to(place);
            return Arc::clone(known);
        }
        if connections.len() >= MAX_POOLED_CONNECTIONS {
            connections.retain(|_, c| Arc::strong_count(c) > 1);
        }
        let connection = Arc::new(Connection::new(place, lane, self.way(target), Arc::clone(&self.options)));
        connections.insert((target.clone(), lane), Arc::clone(&connection));
        connection
    }

    fn way(&self, target: &C::NodeId) -> Option<Way> {
        let (connector, target) = (Arc::clone(self.connector.as_ref()?), target.clone());
        Some(Box::new(move |address| connector.dial(&target, address)))
    }

    /// The membership says that `target` is at `place`.
    pub(crate) fn moved(&self, target: &C::NodeId, place: Place) {
        let place = self.completed(target, place);
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, connection) in connections.iter().filter(|((id, _), _)| id == target) {
            connection.moved_to(place.clone());
        }
    }

    /// `target` may be at `address`, too.
    pub(crate) fn also_at(&self, target: &C::NodeId, address: String) {
        let mut alternatives = self.alternatives.lock().unwrap_or_else(PoisonError::into_inner);
        alternatives.insert(target.clone(), address);
    }

    fn completed(&self, target: &C::NodeId, place: Place) -> Place {
        let alternatives = self.alternatives.lock().unwrap_or_else(PoisonError::into_inner);
        let alternative = alternatives.get(target).filter(|address| **address != place.address);
        Place { alternative: alternative.cloned(), ..place }
    }
}
