//! How this node stands: who it is to its cluster, who leads, what ails it, what it may answer. And
//! what it does about that by itself, whatever is asked of it.
//!
//! `local` is what all parts of a running node share; a node without storage has `faulty` instead.
//! `affiliation` is what the node is to a cluster, `leader_watch` whether a leader is alive,
//! `fault`, `disk_watch` and `disk_use` how its disk is, and `readiness` the one answer made of all
//! that. `comparison` tells which nodes have applied something else than the others. `steward`,
//! `schema_watch`, `snapshot_watch`, `digest_watch`, `memory_watch` and `data_dir_watch` are tasks
//! that run as long as the node does, `newcomer` one that joins a cluster; `handover` gives
//! leadership away, and `succession` asks for it.

mod affiliation;
mod comparison;
mod data_dir_watch;
mod digest_watch;
mod disk_use;
mod disk_watch;
mod fault;
mod faulty;
mod handover;
mod leader_watch;
mod local;
mod memory_watch;
mod newcomer;
mod readiness;
mod schema_watch;
mod snapshot_watch;
pub(crate) mod steward;
mod succession;

pub(crate) use affiliation::{Affiliation, Claim, is_first_member};
#[cfg(any(test, feature = "testing"))]
pub(crate) use comparison::{Checkpoints, Judgement, judge};
pub(crate) use data_dir_watch::watch_data_dir;
pub(crate) use digest_watch::watch_digests;
pub(crate) use disk_use::{DiskBytes, DiskSpace};
pub(crate) use disk_watch::watch_disk;
pub(crate) use fault::{explain, is_disk_full};
pub(crate) use faulty::Faulty;
pub(crate) use handover::{HandoverError, answers, give_leadership_away, hand_over, silence, successor};
pub(crate) use leader_watch::LeaderWatch;
pub(crate) use local::{Handles, Leader, Local, Standing};
pub(crate) use memory_watch::watch_memory;
pub(crate) use newcomer::{join, joins_another};
pub(crate) use readiness::MAX_READY_LAG_ENTRIES;
pub(crate) use schema_watch::watch_schemas;
pub(crate) use snapshot_watch::watch_snapshots;
pub(crate) use steward::is_joint;
pub(crate) use succession::succeed_leader;
