//! A table file's index: for each data block a separator, which is not less than any key in it and
//! less than every key behind it.
//!
//! Kept decoded, as a table file is asked far more often than opened.

use super::Damage;
use super::block::Block;
use super::layout::{BLOCK_TRAILER_BYTES, Handle};
use super::separators::{Separators, SeparatorsBuilder};

/// Of large states nearly all memory goes here and to the filters, so it is kept short.
///
/// Invariants: there is a start for every separator and at least one; the blocks lie one behind the
/// other, from the beginning of the file up to `end`, where no block begins any more.
pub(super) struct Index {
    separators: Separators,
    starts: Vec<u32>,
    end: u32,
}

impl Index {
    pub(super) fn parse(block: &Block<'_>) -> Result<Self, Damage> {
        let (mut separators, mut starts) = (SeparatorsBuilder::new(), Vec::new());
        let mut end = 0;
        let mut entries = block.entries();
        while let Some(value) = entries.advance()? {
            let handle = Handle::whole(value)?;
            if handle.offset != u64::from(end) {
                return Err("a block is not where the one before it ends");
            }
            starts.push(end);
            let next = handle.end().and_then(|end| u32::try_from(end).ok());
            end = next.ok_or("a block is too far behind")?;
            separators.push(entries.user_key()?)?;
        }
        if starts.is_empty() {
            return Err("the index names no block");
        }
        starts.shrink_to_fit();
        let separators = separators.finish();
        debug_assert_eq!(separators.len(), starts.len(), "a start for every separator");
        Ok(Self { separators, starts, end })
    }

    /// Where the data blocks end.
    pub(super) fn end(&self) -> u64 {
        self.end.into()
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let starts = self.starts.len() * size_of::<u32>();
        self.separators.memory_bytes() + starts
    }

    /// Where each block begins.
    pub(super) fn starts(&self) -> impl Iterator<Item = u64> {
        self.starts.iter().copied().map(u64::from)
    }

    /// Where a block is.
    pub(super) fn handle(&self, block: usize) -> Option<Handle> {
        let offset = u64::from(*self.starts.get(block)?);
        let end = self.starts.get(block + 1).map_or(self.end(), |next| u64::from(*next));
        let bytes = end.checked_sub(offset)?.checked_sub(BLOCK_TRAILER_BYTES)?;
        Some(Handle { offset, bytes })
    }

    /// The number of the block behind `first` and those that begin less than `bytes` behind it.
    pub(super) fn block_behind(&self, first: usize, bytes: u64) -> usize {
        let starts = self.starts.get(first..).unwrap_or_default();
        let start = starts.first().copied().map_or(0, u64::from);
        let count = starts.partition_point(|other| u64::from(*other) - start < bytes);
        (first + count.max(1)).min(self.len())
    }

    pub(super) fn separator(&self, block: usize) -> Option<&[u8]> {
        self.separators.get(block)
    }

    /// The only block that may have `key`; one behind the last if none may.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        self.separators.not_less(key)
    }
}
