//! What an application may count: one call per finished RPC, seen from the sender.

use std::time::Duration;

/// The RPCs of `raft.v1`, for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rpc {
    /// One append request on the replication stream, all its messages.
    AppendStream,
    /// One unary append: a heartbeat.
    Append,
    /// A vote request.
    Vote,
    /// A pre-vote request.
    PreVote,
    /// A request to take over leadership.
    TransferLeader,
    /// A whole snapshot.
    Snapshot,
}

impl Rpc {
    /// Every RPC, for registering series up front.
    pub const ALL: [Self; 6] =
        [Self::AppendStream, Self::Append, Self::Vote, Self::PreVote, Self::TransferLeader, Self::Snapshot];

    /// The label value: snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AppendStream => "append_stream",
            Self::Append => "append",
            Self::Vote => "vote",
            Self::PreVote => "pre_vote",
            Self::TransferLeader => "transfer_leader",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Receives measurements. Called on the hot path: must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// An RPC to `peer` (its node id) ended after `took`; `ok` unless it failed to get an answer.
    /// A conflict or a higher vote is an answer.
    fn rpc(&self, rpc: Rpc, peer: &str, took: Duration, ok: bool) {
        let _ = (rpc, peer, took, ok);
    }

    /// `bytes` more of a snapshot were handed to the connection to `peer` (its node id).
    fn snapshot_sent(&self, peer: &str, bytes: u64) {
        let _ = (peer, bytes);
    }
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
