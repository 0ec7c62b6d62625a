//! The Raft log: votes, entries, and the purge and commit marks.
//!
//! ```text
//! openraft core ─▶ LogStore ─▶ bounded queue ─▶ owner thread ─▶ engine
//!                     │                            │ one write batch and one sync for all that waited
//! replication, apply ◀┴─ tail (recent entries)     └▶ callbacks
//! ```
//!
//! One queue carries everything, so a vote never overtakes an append. Readers get recent entries from a
//! tail in memory; only a reader far behind asks the owner thread.

mod command;
mod contents;
mod group;
pub(crate) mod key;
mod owner;
mod raft_log_reader;
mod raft_log_storage;
mod store;
mod tail;

pub(crate) use store::LogPosition;
pub use store::{LogReader, LogStore};
