//! Where a peer listens: the one thing this crate must know about the application's node type.

/// A member's address for peers, as `host:port`.
pub trait PeerAddress {
    /// The address to dial, `host:port`.
    fn raft_addr(&self) -> &str;
}

impl PeerAddress for openraft::BasicNode {
    fn raft_addr(&self) -> &str {
        &self.addr
    }
}
