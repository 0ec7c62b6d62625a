//! How a node is reached.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The addresses of one node, as the membership stores them. Both are `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Where peers reach it.
    pub raft_addr: String,
    /// Where clients, and nodes that forward to it, reach it.
    pub client_addr: String,
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
}
