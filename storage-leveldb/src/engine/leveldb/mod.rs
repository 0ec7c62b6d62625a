//! LevelDB through rusty-leveldb, with what it leaves out added underneath (`env`) and above
//! (here).
//!
//! Underneath: syncs, checksums, the order of durability, the latch. Above:
//! - a panic of the engine (it asserts on damaged files) is caught and becomes a fault;
//! - because the engine swallows read errors, every answer is followed by a look at the latch;
//! - reads are made at the greatest sequence number, as `DB::get` does not find the pair written
//!   last when it ends a block (see `everything`);
//! - a key that `DB::get_at` does not find is looked for again with an iterator: `Version::get`
//!   takes the deletion of *another* key for the deletion of this one, whenever a Bloom filter was
//!   wrong;
//! - every batch sets [`SENTINEL`], so that every table of level 0 overlaps every other: for level
//!   0 `Version::overlap_in_level` searches as if the tables did not overlap, misses some that do,
//!   and then puts new pairs below old ones.

mod env;
mod everything;
mod file_kind;
mod guard;
mod live_files;
mod manifest;
pub(crate) mod records;
mod table;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rusty_leveldb::{DB, LdbIterator, Options, WriteBatch};

use self::env::{CurrentLog, DurableEnv, FileChanges};
use self::everything::Everything;
use self::file_kind::FileKind;
pub(crate) use self::guard::panic_text;
use self::guard::{SENTINEL, guard};
pub(crate) use self::manifest::LiveFiles;
use self::table::{LevelDbTable, LevelDbTableWriter, TableCache};
use super::{Batch, Durability, Engine, EngineFactory, Op, Table, TableWriter};
use crate::disk::{GuardedDisk, max_open_files};
use crate::error::StorageError;
use crate::file::witness;
use crate::health::Fault;
use crate::scan::{KeyRange, ScanLimit};

/// Sizes of databases, which are the log's segments, and of tables, which are the log's and the
/// state's.
///
/// The defaults keep the longest compaction stall near 0.1 s at any database size (measured; see
/// `docs/architecture/log.md`): LevelDB compacts inside a write, one round per full write buffer.
#[derive(Debug, Clone, Copy)]
pub struct LevelDbOptions {
    /// A database's write buffer of this many bytes becomes a table file.
    pub write_buffer_bytes: usize,
    /// A database's table files of deeper levels end at this size.
    pub table_bytes: usize,
    /// Memory for a database's decoded blocks.
    pub block_cache_bytes: usize,
    /// Table files kept open: by each database, and by all tables together. At most half of the
    /// files that the process may have open are those of tables.
    pub open_tables: usize,
    /// A database's log gets longer in steps of so many bytes, as zeros that are then replaced: a
    /// sync may be sooner done if it makes no file longer. 0: by what is written.
    pub log_step_bytes: u64,
    /// A table's files have about this many bytes; so much is gathered in memory while it is
    /// written.
    pub table_file_bytes: usize,
    /// Memory for the indexes and filters of the table files that tables keep open, together. They
    /// take some 4 bytes for a pair of 16 and 256 bytes, and only as much as there are pairs. A
    /// state that needs more is read many times slower: most reads have to open a table file.
    pub table_cache_bytes: usize,
}

impl Default for LevelDbOptions {
    fn default() -> Self {
        Self {
            write_buffer_bytes: 1 << 20,
            table_bytes: 2 << 20,
            block_cache_bytes: 8 << 20,
            open_tables: 2048,
            log_step_bytes: 0,
            table_file_bytes: 8 << 20,
            table_cache_bytes: 128 << 20,
        }
    }
}

impl LevelDbOptions {
    fn to_engine(self, env: DurableEnv) -> Options {
        Options {
            env: Rc::new(Box::new(env)),
            log: Some(env::silent_log()),
            write_buffer_size: self.write_buffer_bytes,
            max_file_size: self.table_bytes,
            block_cache_capacity_bytes: self.block_cache_bytes,
            max_open_files: self.open_tables,
            // Appending to a log or MANIFEST behind a torn tail loses what is appended.
            reuse_logs: false,
            reuse_manifest: false,
            ..Options::default()
        }
    }
}

/// Opens LevelDB databases on one disk, and writes and reads tables there (see `table`).
#[derive(Clone)]
pub struct LevelDb {
    disk: GuardedDisk,
    options: LevelDbOptions,
    accept_copies: bool,
    /// Of all tables, whichever clone opened them.
    tables: Arc<TableCache>,
}

impl LevelDb {
    pub(crate) fn new(disk: GuardedDisk, options: LevelDbOptions) -> Self {
        let max_tables = options.open_tables.min(max_open_files() / 2).max(1);
        let tables = Arc::new(TableCache::new(options.table_cache_bytes, max_tables));
        Self { disk, options, accept_copies: false, tables }
    }

    /// From now on a database that was copied is opened, if this says so.
    pub(crate) fn accept_copies(self, accept_copies: bool) -> Self {
        Self { accept_copies, ..self }
    }

    /// A database without CURRENT counts as new, and LevelDB would start it empty: refuse if it has
    /// data.
    fn refuse_headless(&self, dir: &Path) -> Result<(), Fault> {
        if self.disk.len(&dir.join("CURRENT"))?.is_some() {
            return Ok(());
        }
        let names = self.disk.list(dir)?;
        let data = names.iter().find(|name| matches!(FileKind::of(name), FileKind::Table | FileKind::Log));
        match data {
            Some(name) => {
                let reason =
                    format!("missing, although {} is there: the database has lost its root", name.display());
                Err(self.disk.damaged(&dir.join("CURRENT"), reason))
            }
            None => Ok(()),
        }
    }

    fn open_files(&self, dir: &Path) -> Result<Opened, Fault> {
        let env = DurableEnv::open(self.disk.clone(), dir, self.options.log_step_bytes, self.accept_copies)?;
        live_files::read(&self.disk, dir, |path| Ok(env.tail(path)))?;
        let (file_changes, log) = (env.changes(), env.log());
        let options = self.options.to_engine(env);
        let db = guard(&self.disk, dir, || DB::open(dir, options))?;
        let everything = Everything::new().map_err(|e| self.disk.damaged(dir, e))?;
        Ok(Opened { db, everything, file_changes, log })
    }

    /// The witness is durable before anything else in the directory.
    fn refuse_without_witness(&self, dir: &Path) -> Result<(), Fault> {
        let (root, witness) = (dir.join("CURRENT"), dir.join(witness::WITNESS));
        if self.disk.len(&root)?.is_none() || self.disk.len(&witness)?.is_some() {
            return Ok(());
        }
        Err(self.disk.damaged(&witness, "missing: how much of the database was durable cannot be known"))
    }
}

impl EngineFactory for LevelDb {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError> {
        self.disk.create_dir(dir)?;
        self.refuse_headless(dir)?;
        self.refuse_without_witness(dir)?;
        let opened = self.open_files(dir)?;
        Ok(Box::new(OpenLevelDb { disk: self.disk.clone(), dir: dir.to_owned(), opened }))
    }

    fn exists(&self, dir: &Path) -> Result<bool, StorageError> {
        Ok(self.disk.len(&dir.join("CURRENT"))?.is_some())
    }

    fn write_table(&self, dir: &Path) -> Result<Box<dyn TableWriter>, StorageError> {
        Ok(Box::new(LevelDbTableWriter::create(&self.disk, dir, self.options.table_file_bytes)?))
    }

    fn open_table(self: Arc<Self>, dir: &Path) -> Result<Arc<dyn Table>, StorageError> {
        self.refuse_without_witness(dir)?;
        Ok(Arc::new(LevelDbTable::open(&self.disk, dir, &self.tables)?))
    }
}

/// What ends when the database is closed.
struct Opened {
    db: DB,
    everything: Everything,
    file_changes: FileChanges,
    log: CurrentLog,
}

impl Opened {
    fn get(&mut self, key: &[u8]) -> rusty_leveldb::Result<Option<Bytes>> {
        match self.everything.get(&mut self.db, key)? {
            Some(value) => Ok(Some(value)),
            None => look_again(&mut self.everything, &mut self.db, self.file_changes.get(), key),
        }
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> rusty_leveldb::Result<Vec<(Bytes, Bytes)>> {
        let iter = self.everything.iterate(&mut self.db, self.file_changes.get())?;
        let mut page = limit.page();
        iter.seek(&range.start);
        while let Some((key, value)) = iter.current() {
            if !range.contains(&key) || *key == SENTINEL {
                break;
            }
            let bytes = key.len() + value.len();
            if !page.push(key, value, bytes) || !iter.advance() {
                break;
            }
        }
        Ok(page.into_found())
    }
}

struct OpenLevelDb {
    disk: GuardedDisk,
    dir: PathBuf,
    opened: Opened,
}

impl OpenLevelDb {
    fn call<T>(&mut self, call: impl FnOnce(&mut Opened) -> rusty_leveldb::Result<T>) -> Result<T, Fault> {
        guard(&self.disk, &self.dir, || call(&mut self.opened))
    }
}

/// What an iterator finds at `key`.
fn look_again(
    everything: &mut Everything,
    db: &mut DB,
    changes: u64,
    key: &[u8],
) -> rusty_leveldb::Result<Option<Bytes>> {
    let iter = everything.iterate(db, changes)?;
    iter.seek(key);
    Ok(iter.current().filter(|(found, _)| found == key).map(|(_, value)| value))
}

impl Engine for OpenLevelDb {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.call(|opened| opened.get(key))?)
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        let mut write = WriteBatch::default();
        write.put(&SENTINEL, &[]);
        for op in batch.into_ops() {
            match op {
                Op::Put(key, value) => write.put(&key, &value),
                Op::Delete(key) => write.delete(&key),
            }
        }
        let sync = durability == Durability::Synced;
        Ok(self.call(|opened| {
            opened.everything.forget();
            opened.db.write(write, sync)
        })?)
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.disk.health.check()?;
        let log = self.opened.log.borrow().upgrade();
        Ok(log.map_or(Ok(()), |log| log.borrow_mut().reserve(bytes))?)
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        Ok(self.call(|opened| opened.scan(range, limit))?)
    }
}
