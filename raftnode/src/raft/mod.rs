//! What this application makes of openraft: its types, its addresses and its timing.

mod config;
mod member;
mod types;

pub use config::SNAPSHOT_ENTRIES;
pub(crate) use config::{ELECTION_TIMEOUT_MAX, HEARTBEAT_INTERVAL, LEADER_LEASE, raft_config};
pub use member::Member;
pub use types::NodeId;
pub(crate) use types::{Metrics, Raft, TypeConfig, committed_end};
