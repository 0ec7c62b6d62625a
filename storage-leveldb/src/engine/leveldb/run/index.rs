//! A table's index: for each data block a separator, which is not less than any key in it and less than every key behind
//! it.
//!
//! Kept decoded, as a table is asked far more often than opened.

use super::Damage;
use super::block::Block;
use super::layout::Handle;

/// One data block.
struct Place {
    /// Where its separator ends in `separators`; it begins where the one before ends.
    separator_end: usize,
    handle: Handle,
}

/// Invariants: separators ascend strictly; the blocks lie one behind the other, from the beginning of the file on.
pub(super) struct Index {
    separators: Vec<u8>,
    places: Vec<Place>,
}

impl Index {
    pub(super) fn parse(block: &Block<'_>) -> Result<Self, Damage> {
        let mut index = Self { separators: Vec::new(), places: Vec::new() };
        let mut entries = block.entries();
        while let Some(value) = entries.advance()? {
            index.push(entries.user_key()?, Handle::whole(value)?)?;
        }
        if index.places.is_empty() {
            return Err("the index names no block");
        }
        index.separators.shrink_to_fit();
        index.places.shrink_to_fit();
        Ok(index)
    }

    fn push(&mut self, separator: &[u8], handle: Handle) -> Result<(), Damage> {
        let last = self.places.len().checked_sub(1);
        if last.and_then(|last| self.separator(last)).is_some_and(|last| last >= separator) {
            return Err("the index does not ascend");
        }
        if Some(handle.offset) != self.end() {
            return Err("a block is not where the one before it ends");
        }
        handle.end().ok_or("a block is too far behind")?;
        self.separators.extend_from_slice(separator);
        self.places.push(Place { separator_end: self.separators.len(), handle });
        Ok(())
    }

    /// Where the data blocks end.
    pub(super) fn end(&self) -> Option<u64> {
        self.places.last().map_or(Some(0), |place| place.handle.end())
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.separators.len().saturating_add(self.places.len().saturating_mul(size_of::<Place>()))
    }

    pub(super) fn handle(&self, block: usize) -> Option<Handle> {
        self.places.get(block).map(|place| place.handle)
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.places.iter().map(|place| place.handle)
    }

    pub(super) fn separator(&self, block: usize) -> Option<&[u8]> {
        let start = match block.checked_sub(1) {
            Some(before) => self.places.get(before)?.separator_end,
            None => 0,
        };
        self.separators.get(start..self.places.get(block)?.separator_end)
    }

    /// The only block that may have `key`; one behind the last if none may.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.places.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.separator(middle).is_some_and(|separator| separator < key) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }
}
