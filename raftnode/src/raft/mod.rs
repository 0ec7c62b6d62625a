//! What this application makes of openraft: its types, its addresses and its timing.

mod config;
mod member;
mod types;

pub use config::{ELECTION_TIMEOUT_MAX, LEADER_LEASE, SNAPSHOT_ENTRIES, raft_config};
pub use member::Member;
pub use types::NodeId;
pub(crate) use types::{Metrics, Raft, TypeConfig, committed_end};
