//! The application's types: commands are blobs, answers their number.

use std::fmt;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::vote::RaftLeaderIdExt;
use openraft::vote::leader_id_adv::LeaderId;
use openraft::{EntryPayload, LogId, Vote};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob(pub Bytes);

impl Blob {
    pub fn of(len: usize) -> Self {
        Self(vec![7; len].into())
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

openraft::declare_raft_types!(pub TypeConfig: D = Blob, R = u64);

pub fn log_id(term: u64, node: u64, index: u64) -> LogIdOf<TypeConfig> {
    LogId::new(LeaderId::new_committed(term, node), index)
}

pub fn leader(term: u64, node: u64) -> VoteOf<TypeConfig> {
    Vote::new_committed(term, node)
}

/// An entry of `len` bytes by the leader of term 1, node 1.
pub fn entry(index: u64, len: usize) -> EntryOf<TypeConfig> {
    RaftEntry::new(log_id(1, 1, index), EntryPayload::Normal(Blob::of(len)))
}
