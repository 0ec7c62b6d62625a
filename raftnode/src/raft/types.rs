//! The openraft type configuration that all applications share: entries are bytes, so consensus is
//! compiled once.

use openraft::LogIdOptionExt as _;
use storage_leveldb::StateMachine;

use crate::application::{Batch, Hosted, Outcomes};
use crate::raft::Member;

/// A node's number: unique for ever, chosen by the operator.
pub type NodeId = u64;

openraft::declare_raft_types!(
    /// Log entries carry a [`Batch`], applying one gives the [`Outcomes`] of its commands, and a
    /// node is known by its [`Member`] addresses. Everything else is openraft's default.
    pub(crate) TypeConfig:
        D = Batch,
        R = Outcomes,
        NodeId = NodeId,
        Node = Member,
);

/// The handle on this node's consensus core.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine<TypeConfig, Hosted>>;

/// What the consensus core publishes about itself.
pub(crate) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// The log index after the last entry this node knows to be committed; 0: it knows of none. The
/// cluster's mark may be ahead of the local one, and right after an election there is only the
/// local one.
#[must_use]
pub(crate) fn committed_end(metrics: &Metrics) -> u64 {
    metrics.cluster_committed.next_index().max(metrics.local_committed.next_index())
}
