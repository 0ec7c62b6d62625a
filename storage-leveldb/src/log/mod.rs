//! The log: entries by index, and the hard state. What an entry, a vote or a log id is, it does not
//! know: these are bytes.
//!
//! ```text
//! append, vote, … ─▶ SegmentedLog ─▶ bounded queue ─▶ writer, on the active segment's thread:
//!                        │                         one write batch and one sync for all that waited,
//! replication, apply ◀───┴─ tail (recent entries)  then the callbacks, then what has come meanwhile
//!                           segments (older ones) ◀── maintenance: prepares, stores, removes segments
//! ```
//!
//! The log is a row of *segments*. Each is a LevelDB whose write buffer holds all of it, so that a
//! write is one to its log and never a compaction; full, it gives way to the next one, which lies
//! ready. What is not purged soon after is stored as a table. Purged segments are removed whole.
//!
//! Entries that are appended or wait together are one pair of a segment, an *entry block*; a
//! truncation may end one in its middle.
//!
//! One queue carries every change, so a vote never overtakes an append. Readers get recent entries
//! from a tail in memory, older ones from the segments, on their own threads.

mod block_builder;
mod entry_block;
mod group;
mod hard_state;
pub(crate) mod key;
mod maintenance;
mod maintenance_thread;
mod manifest;
mod recovery;
mod request;
mod segment;
mod segment_table;
mod segmented_log;
mod segments;
mod tail;
mod writer;

pub(crate) use block_builder::{BlockBuilder, EncodedEntries};
#[cfg(feature = "testing")]
pub(crate) use entry_block::split;
pub(crate) use entry_block::{BlockReader, Record};
pub(crate) use manifest::{Form, LogManifest, MANIFEST as LOG_MANIFEST, PurgePoint, SegmentRecord};
pub(crate) use segment::Segment;
pub(crate) use segmented_log::{LogEngines, OpenedLog, SegmentedLog};
pub(crate) use segments::Segments;
