//! Entry blocks: entries that follow each other, as one value of a segment.
//!
//! ```text
//! key     01, index of the first entry, big endian
//! value   for each entry:   4   length of its record, little endian
//!                           …   the record
//! ```
//!
//! A pair costs LevelDB more than the bytes of a small entry do: its skip list compares keys by
//! decoding them. So the entries of a group commit go into few pairs.
//!
//! Of a block those entries count that lie before the next key: a truncation leaves an empty block
//! where the log then ended, and whatever an older block has from there on does not count. Made by
//! `block_builder`, written by `group`, read by `segment`.

use std::ops::Range;

use bytes::{Buf, Bytes};

use super::key;

/// Entries in a block. A reader looks that far back for the one that has an entry.
pub(super) const MAX_ENTRIES: u64 = 256;
/// A block of more than one entry has no more than this.
pub(super) const MAX_BLOCK_BYTES: usize = 64 * 1024;
pub(super) const LENGTH_BYTES: usize = 4;

/// An entry block, or several that become one.
///
/// Invariants: has an entry; the parts follow each other; together they have at most
/// [`MAX_ENTRIES`], and at most [`MAX_BLOCK_BYTES`] unless it is one entry.
pub(super) struct EntryBlock {
    first: u64,
    count: u64,
    bytes: usize,
    parts: Vec<Bytes>,
}

impl EntryBlock {
    /// `count` entries from `first` on, as they are stored.
    pub(super) fn new(first: u64, count: u64, value: Bytes) -> Self {
        let this = Self { first, count, bytes: value.len(), parts: vec![value] };
        this.debug_check();
        this
    }

    fn debug_check(&self) {
        debug_assert!((1..=MAX_ENTRIES).contains(&self.count), "{} entries", self.count);
        debug_assert!(self.count == 1 || self.bytes <= MAX_BLOCK_BYTES, "{} bytes", self.bytes);
        debug_assert_eq!(self.bytes, self.parts.iter().map(Bytes::len).sum::<usize>());
    }

    /// The index behind its last entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.count
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the other one, which comes after it, a part of this one; if they do not fit, it comes
    /// back.
    pub(super) fn join(&mut self, next: Self) -> Option<Self> {
        let (count, bytes) = (self.count + next.count, self.bytes + next.bytes);
        if next.first != self.end() || count > MAX_ENTRIES || bytes > MAX_BLOCK_BYTES {
            return Some(next);
        }
        (self.count, self.bytes) = (count, bytes);
        self.parts.extend(next.parts);
        self.debug_check();
        None
    }

    pub(super) fn into_pair(self) -> (Vec<u8>, Bytes) {
        let value = match <[Bytes; 1]>::try_from(self.parts) {
            Ok([only]) => only,
            Err(parts) => parts.concat().into(),
        };
        (key::entry(self.first), value)
    }
}

/// What a log has under the index at which it was truncated.
pub(super) fn end_of_log(index: u64) -> (Vec<u8>, Bytes) {
    (key::entry(index), Bytes::new())
}

/// Where the block can begin that has entry `index`.
pub(super) fn first_possible(index: u64) -> u64 {
    // There is none before 0.
    index.saturating_sub(MAX_ENTRIES - 1)
}

/// Why a value is no entry block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// A length, or the record that it tells of.
    #[error("ends within an entry")]
    Torn,
    #[error("has more than {MAX_ENTRIES} entries")]
    TooMany,
    #[error("has entries behind the last index there can be")]
    NoIndex,
}

/// The records in a block; they share its memory.
pub(crate) fn split(value: &Bytes) -> Result<Vec<Bytes>, Malformed> {
    let mut rest = value.clone();
    let mut records = Vec::new();
    while rest.has_remaining() {
        let length = rest.try_get_u32_le().map_err(|_| Malformed::Torn)?;
        let length = usize::try_from(length).map_err(|_| Malformed::Torn)?;
        if length > rest.len() {
            return Err(Malformed::Torn);
        }
        if records.len() as u64 >= MAX_ENTRIES {
            return Err(Malformed::TooMany);
        }
        records.push(rest.split_to(length));
    }
    Ok(records)
}

/// An entry's index, and its record.
pub(crate) type Record = (u64, Bytes);

/// Reads the blocks of a segment, which come in the order of their keys. How many of the entries of
/// a block count is known with the next key.
///
/// Invariant: every one of `records` has an index, counted from `first`.
#[derive(Default)]
pub(crate) struct BlockReader {
    first: u64,
    records: Vec<Bytes>,
}

impl BlockReader {
    /// Takes a block; answers the entries of the one before.
    pub(crate) fn push(&mut self, first: u64, value: &Bytes) -> Result<Vec<Record>, Malformed> {
        let before = self.finish(first);
        let records = split(value)?;
        let end = first.checked_add(records.len().max(1) as u64);
        end.filter(|end| *end < u64::MAX).ok_or(Malformed::NoIndex)?;
        (self.first, self.records) = (first, records);
        Ok(before)
    }

    /// The entries of the last block, behind which the next key has the index `next`.
    pub(crate) fn finish(&mut self, next: u64) -> Vec<Record> {
        (self.first..next).zip(std::mem::take(&mut self.records)).collect()
    }

    /// The indexes of which a key takes entries away from the last block.
    pub(super) fn uncertain(&self) -> Range<u64> {
        self.first + 1..self.first + self.records.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64) -> Bytes {
        format!("entry {index}").into()
    }

    fn value(records: &[Bytes]) -> Bytes {
        let stored = |record: &Bytes| [&(record.len() as u32).to_le_bytes()[..], record].concat();
        records.iter().map(stored).collect::<Vec<_>>().concat().into()
    }

    fn block(range: Range<u64>) -> EntryBlock {
        let count = range.end - range.start;
        EntryBlock::new(range.start, count, value(&range.map(record).collect::<Vec<_>>()))
    }

    fn pair(block: EntryBlock) -> (u64, Bytes) {
        let (key, value) = block.into_pair();
        (key::index_of(&key).unwrap(), value)
    }

    fn indexes(records: &[Record]) -> Vec<u64> {
        records.iter().for_each(|(index, found)| assert_eq!(found, &record(*index)));
        records.iter().map(|(index, _)| *index).collect()
    }

    #[test]
    fn what_goes_into_a_block_comes_out() {
        let mut joined = block(5..7);
        assert!(joined.join(block(7..9)).is_none() && joined.join(block(9..10)).is_none());
        assert_eq!((joined.end(), joined.count()), (10, 5));
        let (first, value) = pair(joined);
        let mut blocks = BlockReader::default();
        assert_eq!(blocks.push(first, &value), Ok(vec![]));
        assert_eq!(blocks.uncertain(), 6..10);
        assert_eq!(indexes(&blocks.finish(u64::MAX)), [5, 6, 7, 8, 9]);
        assert_eq!(blocks.finish(u64::MAX), []);
    }

    #[test]
    fn the_next_key_takes_away_what_lies_behind_it() {
        let mut blocks = BlockReader::default();
        let (first, value) = pair(block(5..9));
        blocks.push(first, &value).unwrap();
        assert_eq!(indexes(&blocks.push(7, &Bytes::new()).unwrap()), [5, 6]);
        assert_eq!(blocks.finish(u64::MAX), []);
        // Indexes that no log has, but a key may.
        for first in [u64::MAX - 3, u64::MAX] {
            assert_eq!(blocks.push(first, &value), Err(Malformed::NoIndex));
        }
        assert_eq!(blocks.push(u64::MAX, &Bytes::new()), Err(Malformed::NoIndex));
    }

    #[test]
    fn blocks_are_joined_as_long_as_there_is_room() {
        let mut joined = block(3..4);
        assert!(joined.join(block(5..6)).is_some(), "entry 4 is missing");
        assert!(joined.join(EntryBlock::new(4, 1, vec![0; MAX_BLOCK_BYTES].into())).is_some(), "too large");
        assert!(joined.join(block(4..3 + MAX_ENTRIES)).is_none());
        let next = joined.join(block(3 + MAX_ENTRIES..4 + MAX_ENTRIES)).expect("too many");
        assert_eq!(pair(next).0, 3 + MAX_ENTRIES);
        // A reader that looks back so far finds the first of so many.
        assert_eq!(first_possible(3 + MAX_ENTRIES - 1), 3);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let torn = [&[1][..], &[1, 0, 0, 0], &[2, 0, 0, 0, 7], &[255; 4], &[0, 0, 0, 0, 9]];
        torn.iter().for_each(|bytes| assert_eq!(split(&Bytes::copy_from_slice(bytes)), Err(Malformed::Torn)));
        let empty_entries = |count: u64| Bytes::from(vec![0; LENGTH_BYTES * count as usize]);
        assert_eq!(split(&empty_entries(MAX_ENTRIES)).unwrap().len() as u64, MAX_ENTRIES);
        assert_eq!(split(&empty_entries(MAX_ENTRIES + 1)), Err(Malformed::TooMany));
        assert_eq!(split(&Bytes::new()), Ok(vec![]));
        let large = Bytes::from(vec![7; 2 * MAX_BLOCK_BYTES]);
        assert_eq!(split(&value(std::slice::from_ref(&large))), Ok(vec![large]));
    }

    #[test]
    fn whatever_is_taken_for_a_block_is_one() {
        for seed in 0..20_000 {
            let mut random = crate::testing::Random::new(seed);
            // Small bytes, so that some lengths fit.
            let bytes: Bytes =
                (0..random.below(40)).map(|_| (random.below(8) & random.below(8)) as u8).collect();
            if let Ok(records) = split(&bytes) {
                assert_eq!(value(&records), bytes, "seed {seed}");
            }
        }
    }
}
