//! The Raft log: votes, entries, and the purge and commit marks.
//!
//! ```text
//! openraft core ─▶ LogStore ─▶ bounded queue ─▶ owner thread ─▶ the active segment's thread
//!                     │                            │            one write batch and one sync for all that waited,
//! replication, apply ◀┴─ tail (recent entries)     └▶ callbacks   then for those who have come meanwhile
//!                        segments (older ones) ◀── caretaker thread: prepares, stores, removes segments
//! ```
//!
//! The log is a row of *segments*. Each is a LevelDB whose write buffer holds all of it, so that a
//! write is one to its log and never a compaction; full, it gives way to the next one, which lies
//! ready. What is not purged soon after is stored as a run. Purged segments are removed whole.
//!
//! Entries that are appended or wait together are one pair of a segment, a *bundle*; a truncation
//! may end one in its middle.
//!
//! One queue carries every change, so a vote never overtakes an append. Readers get recent entries
//! from a tail in memory, older ones from the segments, on their own threads.

mod bundle;
mod caretaker;
mod command;
mod contents;
mod encode;
mod group;
pub(crate) mod key;
mod load;
mod marks;
mod owner;
mod raft_log_reader;
mod raft_log_storage;
mod retire;
mod root;
mod segment;
mod segments;
mod store;
mod tail;
mod turn;

#[cfg(feature = "testing")]
pub(crate) use bundle::split;
pub(crate) use bundle::{Record, Unbundle};
pub(crate) use root::{Form, LogRoot, ROOT as LOG_ROOT, SegmentRecord};
pub(crate) use segment::Segment;
pub(crate) use segments::Segments;
pub(crate) use store::{LogEngines, LogPosition};
pub use store::{LogReader, LogStore};
