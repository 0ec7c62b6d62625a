//! A complete table, read by any number of threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::layout::user_key;
use super::page::Page;
use super::separators::Separators;
use super::table_cache::{Slot, TableCache, TableId};
use super::table_file::TableFile;
use crate::disk::GuardedDisk;
use crate::engine::Table;
use crate::engine::leveldb::file_kind::FileKind;
use crate::engine::leveldb::live_files::{self, table_name};
use crate::engine::leveldb::manifest::{LiveFiles, LiveTable};
use crate::error::StorageError;
use crate::file::framed_reader::Tail;
use crate::file::witness;
use crate::health::Fault;
use crate::scan::{KeyRange, ScanLimit};

/// One table file: where it is, and which keys it has.
struct FilePlace {
    path: PathBuf,
    told: LiveTable,
}

impl FilePlace {
    // `in_order` has seen to it that these are keys.
    fn smallest(&self) -> &[u8] {
        user_key(&self.told.smallest).unwrap_or_default()
    }

    fn largest(&self) -> &[u8] {
        user_key(&self.told.largest).unwrap_or_default()
    }
}

/// Invariants: the keys of each table file are all less than those of the next; `largest` has the
/// last key of each, and `slots` the place of each if it is open.
pub(crate) struct LevelDbTable {
    disk: GuardedDisk,
    files: Vec<FilePlace>,
    /// Apart from the table files, of which a search needs nothing else.
    slots: Vec<Arc<Slot>>,
    largest: Separators,
    cache: Arc<TableCache>,
    id: TableId,
}

impl LevelDbTable {
    /// Opens the table in `dir`.
    ///
    /// # Errors
    /// There is none, or it is not complete or damaged.
    pub(crate) fn open(disk: &GuardedDisk, dir: &Path, cache: &Arc<TableCache>) -> Result<Self, Fault> {
        let live = read_live_files(disk, dir)?;
        let id = cache.new_id();
        let files = live
            .tables
            .into_iter()
            .map(|(number, told)| FilePlace { path: dir.join(table_name(number)), told });
        let files = in_order(files.collect()).map_err(|reason| disk.damaged(dir, reason))?;
        let largest = Separators::new(files.iter().map(FilePlace::largest));
        let largest = largest.map_err(|reason| disk.damaged(dir, reason))?;
        let slots: Vec<_> = files.iter().map(|_| Slot::new(id)).collect();
        debug_assert_eq!(
            (files.len(), files.len()),
            (slots.len(), largest.len()),
            "a slot and a last key of each"
        );
        Ok(Self { disk: disk.clone(), files, slots, largest, cache: cache.clone(), id })
    }

    /// The table file with this number, open; `None` if there are not so many.
    fn opened(&self, number: usize) -> Result<Option<Arc<TableFile>>, Fault> {
        let (Some(slot), Some(table)) = (self.slots.get(number), self.files.get(number)) else {
            return Ok(None);
        };
        self.cache.get(slot, || TableFile::open(&self.disk, &table.path, &table.told)).map(Some)
    }
}

/// What the table consists of. Everything was durable before CURRENT came to be, so nothing may be
/// wrong or torn.
fn read_live_files(disk: &GuardedDisk, dir: &Path) -> Result<LiveFiles, Fault> {
    let claims = witness::read(disk, dir)?;
    let tail = |path: &Path| {
        if FileKind::of(path) == FileKind::Current {
            return Ok(Tail::Complete);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let claim = claims.as_ref().and_then(|claims| claims.get(&*name));
        let lost = || disk.damaged(&dir.join(witness::WITNESS), format!("does not tell of {name}"));
        let claim = claim.ok_or_else(lost)?;
        Ok(Tail::Witnessed(*claim))
    };
    let live = live_files::read(disk, dir, tail)?;
    let live =
        live.ok_or_else(|| disk.damaged(&dir.join("CURRENT"), "missing: there is no complete table"))?;
    // What is in a log is in no table file: this is a database in use.
    match disk.list(dir)?.iter().find(|name| FileKind::of(name) == FileKind::Log) {
        Some(name) => Err(disk.damaged(&dir.join(name), "a table has no log")),
        None => Ok(live),
    }
}

/// Puts table files in key order.
fn in_order(mut files: Vec<FilePlace>) -> Result<Vec<FilePlace>, String> {
    for table in &files {
        user_key(&table.told.smallest).and(user_key(&table.told.largest))?;
    }
    files.sort_by(|a, b| a.smallest().cmp(b.smallest()));
    let mut last: Option<&FilePlace> = None;
    for table in &files {
        if table.smallest() > table.largest() || last.is_some_and(|last| last.largest() >= table.smallest()) {
            return Err(format!("the keys of {} and of another table overlap", table.path.display()));
        }
        last = Some(table);
    }
    Ok(files)
}

impl Drop for LevelDbTable {
    fn drop(&mut self) {
        self.cache.forget(self.id);
    }
}

impl Table for LevelDbTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.disk.health.check()?;
        match self.opened(self.largest.not_less(key))? {
            Some(table) => Ok(table.get(key)?),
            None => Ok(None),
        }
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.disk.health.check()?;
        let mut page = Page::new(range, limit);
        for (number, told) in self.files.iter().enumerate().skip(self.largest.not_less(&range.start)) {
            if page.is_complete() || range.end.as_ref().is_some_and(|end| told.smallest() >= &**end) {
                break;
            }
            if let Some(table) = self.opened(number)? {
                table.scan(&mut page)?;
            }
        }
        Ok(page.into_found())
    }
}
