//! Where the log keeps what in a segment.
//!
//! What is no entry sorts behind the entries, so that `entries` is one range.

use crate::scan::KeyRange;

const ENTRY: u8 = 0x01;
const META: u8 = 0xff;

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

/// Where a single value about a segment is, or one about the whole log: then that in the newest
/// segment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaKey {
    /// The segment's format version: one byte.
    Format,
    /// Codec bytes of the index from which on no older segment counts, `u64`. A segment without it
    /// has not been begun.
    Start,
    /// The vote, as the owner of the log encodes it.
    Vote,
    /// Codec bytes of a [`PurgePoint`](super::PurgePoint).
    Purged,
    /// The committed id, as the owner of the log encodes it.
    Committed,
}

impl MetaKey {
    pub(crate) const ALL: [Self; 5] = [Self::Format, Self::Start, Self::Vote, Self::Purged, Self::Committed];

    /// The key itself.
    pub(crate) fn key(self) -> Vec<u8> {
        [&[META], self.name().as_bytes()].concat()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Start => "start",
            Self::Vote => "vote",
            Self::Purged => "purged",
            Self::Committed => "committed",
        }
    }
}
