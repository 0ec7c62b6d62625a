//! One table file of a table, open: its file, and in memory its index and filter.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Damage;
use super::block::Block;
use super::filter::{self, Filter};
use super::index::Index;
use super::layout::{BLOCK_TRAILER_BYTES, FOOTER_BYTES, Handle, footer};
use super::page::Page;
use crate::disk::GuardedDisk;
use crate::engine::leveldb::manifest::LiveTable;
use crate::file::paged::PagedReader;
use crate::health::Fault;

/// What an open table file takes beside index and filter: its file, its name, and what the
/// allocator makes of it all.
const OVERHEAD_BYTES: usize = 1024;
/// A scan reads this much at once in the end; it begins with a block and takes twice as much each
/// time.
const SCAN_READ_BYTES: u64 = 128 * 1024;

pub(super) struct TableFile {
    file: PagedReader,
    path: PathBuf,
    disk: GuardedDisk,
    index: Index,
    filter: Filter,
}

/// A block without its trailer.
fn without_trailer(block: &[u8]) -> Result<&[u8], Damage> {
    match block.split_last_chunk::<{ BLOCK_TRAILER_BYTES as usize }>() {
        Some((content, [0, ..])) => Ok(content),
        _ => Err("a block is compressed"),
    }
}

impl TableFile {
    /// Opens a table file that has, as MANIFEST tells, these keys at its ends.
    pub(super) fn open(disk: &GuardedDisk, path: &Path, told: &LiveTable) -> Result<Self, Fault> {
        let file = PagedReader::open(disk, path)?.ok_or_else(|| disk.damaged(path, "missing"))?;
        let damaged = |damage: Damage| disk.damaged(path, damage);
        let footer_at = file.payload_len().checked_sub(FOOTER_BYTES);
        let footer_at = footer_at.ok_or_else(|| damaged("too short to be a table"))?;
        let (metaindex, index_place) = file.read(footer_at, FOOTER_BYTES, footer)?.map_err(damaged)?;
        let end_of = |handle: Handle| handle.end().ok_or_else(|| damaged("a block is too far behind"));
        if end_of(index_place)? != footer_at || end_of(metaindex)? != index_place.offset {
            return Err(damaged("index and metaindex do not fill the end of the table"));
        }
        let filter_place = with_block(&file, metaindex, find_filter)?.map_err(damaged)?;
        if end_of(filter_place)? != metaindex.offset {
            return Err(damaged("the filter block is not in front of the metaindex"));
        }
        let index =
            with_block(&file, index_place, |block| Index::parse(&Block::parse(block)?))?.map_err(damaged)?;
        if index.end() != filter_place.offset {
            return Err(damaged("the filter block is not behind the data"));
        }
        let bytes = with_block(&file, filter_place, |block| Ok(block.to_vec()))?.map_err(damaged)?;
        let filter = Filter::parse(bytes, index.starts()).map_err(damaged)?;
        let table = Self { file, path: path.to_owned(), disk: disk.clone(), index, filter };
        table.expect_ends(told)?;
        Ok(table)
    }

    /// The file is the one that MANIFEST means, and not another table's of the same name.
    fn expect_ends(&self, told: &LiveTable) -> Result<(), Fault> {
        let last_block = self.index.len() - 1;
        let first = self.in_block(0, |block| {
            let mut entries = block.entries();
            entries.advance()?;
            Ok(entries.key().to_vec())
        })?;
        let last = self.in_block(last_block, |block| {
            let mut entries = block.entries();
            while entries.advance()?.is_some() {}
            Ok(entries.key().to_vec())
        })?;
        if first != told.smallest || last != told.largest {
            return Err(self.damaged("not the table that MANIFEST tells of: other keys are at its ends"));
        }
        Ok(())
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        OVERHEAD_BYTES + self.index.memory_bytes() + self.filter.memory_bytes()
    }

    fn damaged(&self, damage: Damage) -> Fault {
        self.disk.damaged(&self.path, damage)
    }

    fn in_block<T>(
        &self,
        block: usize,
        look: impl FnOnce(&Block<'_>) -> Result<T, Damage>,
    ) -> Result<T, Fault> {
        let handle = self.index.handle(block).ok_or_else(|| self.damaged("its keys go beyond its index"))?;
        with_block(&self.file, handle, |content| look(&Block::parse(content)?))?.map_err(|damage| {
            self.disk.damaged(&self.path, format!("{damage}, in the block at {}", handle.offset))
        })
    }

    /// The value of `key`, which is not greater than the last one of this table file.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let block = self.index.block_of(key);
        if block >= self.index.len() {
            return Err(self.damaged("its keys go beyond its index"));
        }
        let may_have = self.filter.may_have(block, filter::hash(key));
        if !may_have.map_err(|damage| self.damaged(damage))? {
            return Ok(None);
        }
        // A copy: a slice would keep all of the block in memory.
        self.in_block(block, |block| Ok(block.get(key)?.map(Bytes::copy_from_slice)))
    }

    /// Adds to a page what belongs to it.
    pub(super) fn scan(&self, page: &mut Page<'_>) -> Result<(), Fault> {
        let mut next = self.index.block_of(&page.range().start);
        let mut read_bytes = 1;
        while next < self.index.len() && !page.is_complete() {
            next = self.scan_some(next, read_bytes.min(page.room_bytes() as u64), page)?;
            read_bytes = (read_bytes * 2).clamp(8 * 1024, SCAN_READ_BYTES);
        }
        Ok(())
    }

    /// The same for the block `first` and those behind it that begin within `read_bytes`, with one
    /// read. Answers the first block that it has not come to.
    fn scan_some(&self, first: usize, read_bytes: u64, page: &mut Page<'_>) -> Result<usize, Fault> {
        let blocks = first..self.index.block_behind(first, read_bytes);
        let start = self.index.handle(first).map_or(0, |handle| handle.offset);
        let end = self.index.handle(blocks.end).map_or(self.index.end(), |handle| handle.offset);
        let scanned = self.file.read(start, end - start, |mut bytes| {
            for block in blocks.clone() {
                let handle = self.index.handle(block).ok_or("a block is not in the index")?;
                let len = handle.bytes + BLOCK_TRAILER_BYTES;
                let len = usize::try_from(len).map_err(|_| "a block is too large")?;
                let (block_bytes, rest) = bytes.split_at_checked(len).ok_or("a block is cut off")?;
                bytes = rest;
                let separator = self.index.separator(block).unwrap_or_default();
                page.add(&Block::parse(without_trailer(block_bytes)?)?, separator)?;
                if page.is_complete() {
                    break;
                }
            }
            Ok(())
        })?;
        scanned.map_err(|damage| self.damaged(damage))?;
        Ok(blocks.end)
    }
}

fn with_block<T>(
    file: &PagedReader,
    handle: Handle,
    look: impl FnOnce(&[u8]) -> Result<T, Damage>,
) -> Result<Result<T, Damage>, Fault> {
    let bytes = handle.bytes + BLOCK_TRAILER_BYTES;
    file.read(handle.offset, bytes, |block| look(without_trailer(block)?))
}

/// The place of the filter block, which is all that a metaindex names.
fn find_filter(metaindex: &[u8]) -> Result<Handle, Damage> {
    let mut entries = Block::parse(metaindex)?.entries();
    let value = entries.advance()?.ok_or("the metaindex is empty")?;
    if entries.key() != filter::NAME {
        return Err("the metaindex does not name the filter block");
    }
    let handle = Handle::whole(value)?;
    if entries.advance()?.is_some() {
        return Err("the metaindex names more than the filter block");
    }
    Ok(handle)
}
