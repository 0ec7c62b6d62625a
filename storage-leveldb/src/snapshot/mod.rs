//! Snapshot files: written from a checkpoint or received from a peer, sent to peers, installed.
//!
//! ```text
//! snapshot/ACTIVE          the name of the snapshot that counts, or "none" (a marker file)
//! snapshot/N-LENGTH.snap   a complete snapshot; one that ACTIVE does not name is garbage
//! snapshot/N.tmp           one being built or received; garbage after a restart
//! ```

mod directory;
mod error;
mod file;
mod inbox;
#[cfg(feature = "testing")]
mod pairs;
mod reader;
mod writer;

pub(crate) use directory::SnapshotDirectory;
pub(crate) use error::SnapshotError;
pub use file::SnapshotFile;
pub use inbox::SnapshotInbox;
pub(crate) use reader::SnapshotReader;

/// First bytes of the stream in a snapshot file: a magic and the format version.
const STREAM_MAGIC: [u8; 5] = *b"SNAP\x01";
/// A key and its value follow.
const TAG_PAIR: u8 = 1;
/// The number of pairs follows, and then nothing.
const TAG_END: u8 = 2;
/// The longest metadata that a snapshot may hold, in bytes.
const MAX_META_BYTES: usize = codec::MAX_DECODED_BYTES;
