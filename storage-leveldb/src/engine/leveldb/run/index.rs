//! A table's index: for each data block a separator, which is not less than any key in it and less than every key behind
//! it.
//!
//! Kept decoded, as a table is asked far more often than opened.

use super::Damage;
use super::block::Block;
use super::layout::Handle;
use super::separators::Separators;

/// Invariants: there is a handle for every separator and at least one; the blocks lie one behind the other, from the
/// beginning of the file on.
pub(super) struct Index {
    separators: Separators,
    handles: Vec<Handle>,
}

impl Index {
    pub(super) fn parse(block: &Block<'_>) -> Result<Self, Damage> {
        let (mut separators, mut handles) = (Vec::new(), Vec::new());
        let mut end = 0;
        let mut entries = block.entries();
        while let Some(value) = entries.advance()? {
            let handle = Handle::whole(value)?;
            if handle.offset != end {
                return Err("a block is not where the one before it ends");
            }
            end = handle.end().ok_or("a block is too far behind")?;
            separators.push(entries.user_key()?.to_vec());
            handles.push(handle);
        }
        if handles.is_empty() {
            return Err("the index names no block");
        }
        handles.shrink_to_fit();
        Ok(Self { separators: Separators::new(separators.iter().map(Vec::as_slice))?, handles })
    }

    /// Where the data blocks end.
    pub(super) fn end(&self) -> Option<u64> {
        self.handles.last().and_then(|handle| handle.end())
    }

    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let handles = self.handles.len().saturating_mul(size_of::<Handle>());
        self.separators.memory_bytes().saturating_add(handles)
    }

    pub(super) fn handle(&self, block: usize) -> Option<Handle> {
        self.handles.get(block).copied()
    }

    pub(super) fn handles_from(&self, block: usize) -> &[Handle] {
        self.handles.get(block..).unwrap_or_default()
    }

    pub(super) fn separator(&self, block: usize) -> Option<&[u8]> {
        self.separators.get(block)
    }

    /// The only block that may have `key`; one behind the last if none may.
    pub(super) fn block_of(&self, key: &[u8]) -> usize {
        self.separators.not_less(key)
    }
}
