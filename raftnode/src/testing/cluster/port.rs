//! Where a running node is reached by the others.

use storage_leveldb::SnapshotInbox;

use super::member::Requests;
use crate::raft::Raft;

/// What others may ask of a node. Cheap to clone.
#[derive(Clone)]
pub(super) struct Port {
    /// Another one after each start.
    pub(super) incarnation: u64,
    pub(super) raft: Raft,
    pub(super) inbox: SnapshotInbox,
    pub(super) requests: Requests,
}
