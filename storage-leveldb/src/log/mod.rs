//! The log: records with indexes that follow each other, a vote, and the purge and commit marks.
//! It knows nothing of openraft; `crate::raft` does.
//!
//! ```text
//! append, vote, truncate, purge ─▶ Log ─▶ bounded queue ─▶ writer thread ─▶ the active segment's database
//!                                   │                          │            one write batch and one sync for all that waits
//! replication, apply ◀──────────────┴─ tail (recent entries)   └▶ callbacks
//!                                      segments (older ones) ◀── caretaker thread: prepares and removes segments
//! ```
//!
//! The log is a row of *segments*. Each is a LevelDB whose write buffer holds all of it, so that
//! a write is one to its log and never a compaction; full, it is closed and gives way to the next
//! one, whose files lie ready. Purged segments are removed whole. A segment that is not written
//! any more is opened again when it is read.
//!
//! Entries that are appended or wait together are one pair of a segment, a *bundle*; a truncation
//! may end one in its middle.
//!
//! One queue carries every change, so a vote never overtakes an append. Readers get recent
//! entries from a tail in memory, older ones from the segments.

mod bundle;
mod caretaker;
mod contents;
mod encode;
mod group;
mod handle;
pub(crate) mod key;
mod load;
mod manifest;
mod marks;
mod request;
mod segment;
mod segments;
mod tail;
mod writer;

#[cfg(feature = "testing")]
pub(crate) use bundle::split;
pub(crate) use bundle::{Bundle, Record, Unbundle};
pub(crate) use encode::Encoder;
pub(crate) use handle::{Log, LogEngines};
pub(crate) use manifest::{MANIFEST as LOG_MANIFEST, Manifest, segment_name, segment_number};
pub(crate) use request::StoredLogId;
pub(crate) use segment::Segment;
pub(crate) use segments::Segments;
