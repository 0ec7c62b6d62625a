//! How a node is reached, and which data directory it is.

use std::fmt;

use network_grpc::{ClusterId, Incarnation};
use serde::{Deserialize, Serialize};

/// One node, as the membership stores it. Both addresses are `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Where peers reach it.
    pub raft_addr: String,
    /// Where clients, and nodes that forward to it, reach it.
    pub client_addr: String,
    /// The cluster's id, so that it is replicated with the first membership.
    pub(crate) cluster_id: u128,
    /// Which data directory this member is; none as long as it has never been reached.
    pub(crate) incarnation: Option<u128>,
}

impl Member {
    /// A node at these addresses that belongs to no cluster yet.
    #[must_use]
    pub fn at(raft_addr: impl Into<String>, client_addr: impl Into<String>) -> Self {
        Self { raft_addr: raft_addr.into(), client_addr: client_addr.into(), ..Self::default() }
    }

    /// The same addresses in `cluster_id`, with the data directory `incarnation` if that is known.
    #[must_use]
    pub fn in_cluster(self, cluster_id: ClusterId, incarnation: Option<Incarnation>) -> Self {
        let incarnation = incarnation.map(Incarnation::bits);
        Self { cluster_id: cluster_id.bits(), incarnation, ..self }
    }

    /// The cluster whose membership this is from.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId::from_bits(self.cluster_id)
    }

    /// Which data directory it is, if that is known.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation.map(Incarnation::from_bits)
    }

    /// Whether both have the same addresses.
    #[must_use]
    pub fn is_at_the_place_of(&self, other: &Self) -> bool {
        (&self.raft_addr, &self.client_addr) == (&other.raft_addr, &other.client_addr)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.raft_addr, self.client_addr)
    }
}

impl network_grpc::PeerAddress for Member {
    fn raft_addr(&self) -> &str {
        &self.raft_addr
    }

    fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation()
    }
}
