//! What an application may count and hear of: RPCs that ended, seen from the sender, and what the
//! peers' requests tell about this node.

use std::time::Duration;

use crate::identity::{ClusterId, Incarnation};

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

/// Receives measurements and news. Called on the hot path: must be quick and must not block.
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

    /// A member of `cluster` takes this node for one of its members, which it is not, or not with
    /// this data directory. The request was refused. `incarnation` is what the member expected;
    /// `None`: it has not been told of one.
    fn claimed(&self, cluster: ClusterId, incarnation: Option<Incarnation>) {
        let _ = (cluster, incarnation);
    }

    /// A leader knows that this node has acknowledged an entry, and this node's log lacks it: its
    /// storage was replaced by an older copy of itself. `what` names the entry and the leader. The
    /// node may have promised and acknowledged more than it knows, so the application must stop it
    /// from voting and acknowledging for good.
    fn lacks_acknowledged(&self, what: &str) {
        let _ = what;
    }
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
