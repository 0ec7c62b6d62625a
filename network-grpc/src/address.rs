//! Where a peer listens and which data directory it is: all that this crate must know about the
//! application's node type.

use crate::identity::Incarnation;

/// A member as the membership describes it.
pub trait PeerAddress {
    /// The address to dial, `host:port`.
    fn raft_addr(&self) -> &str;

    /// The incarnation that the membership gives it. `None` (the default): it has none, and its
    /// messages are refused by a node that has one.
    fn incarnation(&self) -> Option<Incarnation> {
        None
    }
}

impl PeerAddress for openraft::BasicNode {
    fn raft_addr(&self) -> &str {
        &self.addr
    }
}
