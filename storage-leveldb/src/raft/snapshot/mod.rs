//! The format of a snapshot on its way from one node to another: a framed stream, made from a state
//! and read into one.
//!
//! A snapshot is never a file: the one that counts is the state on disk, which is made into this
//! when it is sent.

mod encoder;
mod error;
mod reader;

pub(crate) use encoder::SnapshotEncoder;
pub(crate) use error::SnapshotError;
pub(crate) use reader::SnapshotReader;

/// First bytes of the stream: a magic and the format version.
const STREAM_MAGIC: [u8; 5] = *b"SNAP\x01";
/// A key and its value follow.
const TAG_PAIR: u8 = 1;
/// The number of pairs follows, and then nothing.
const TAG_END: u8 = 2;
/// The longest key and the longest value that a snapshot may hold, in bytes: what a node that
/// receives one takes into memory at once, and four times what a command can carry.
const MAX_PART_BYTES: usize = 4 * codec::MAX_DECODED_BYTES;
/// The same of the metadata.
const MAX_META_BYTES: usize = codec::MAX_DECODED_BYTES;
