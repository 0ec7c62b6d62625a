//! Where the log keeps what in its database.
//!
//! Marks sort behind the entries, so that `entries` is one range and the last table of a level holds all marks.

use crate::engine::KeyRange;

const ENTRY: u8 = 0x01;
const MARK: u8 = 0xff;

/// `0x01`, then the index, big endian: entries sort by index.
pub(crate) fn entry(index: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(ENTRY);
    key.extend(index.to_be_bytes());
    key
}

/// The keys of the entries `start..end`.
pub(crate) fn entries(start: u64, end: u64) -> KeyRange {
    KeyRange { start: entry(start).into(), end: Some(entry(end).into()) }
}

/// The index in an entry's key.
pub(crate) fn index_of(key: &[u8]) -> Option<u64> {
    let (prefix, index) = key.split_first()?;
    (*prefix == ENTRY).then_some(u64::from_be_bytes(index.try_into().ok()?))
}

/// A single value about the whole log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The log's format version: one byte.
    Format,
    /// Codec bytes of the vote.
    Vote,
    /// Codec bytes of the last purged log id.
    Purged,
    /// Codec bytes of the committed log id.
    Committed,
}

impl Mark {
    pub(crate) fn key(self) -> Vec<u8> {
        let name: &[u8] = match self {
            Self::Format => b"format",
            Self::Vote => b"vote",
            Self::Purged => b"purged",
            Self::Committed => b"committed",
        };
        [&[MARK], name].concat()
    }
}
