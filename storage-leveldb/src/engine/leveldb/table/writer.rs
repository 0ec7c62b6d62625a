//! Fills a table through rusty-leveldb.
//!
//! Keys ascend, so every full write buffer becomes a table file behind all others. LevelDB puts it
//! below level 0 at once, and what it calls a compaction is an entry in MANIFEST: nothing is ever
//! written twice. (That is why there is no sentinel here; see [`super::super`].)

use std::path::{Path, PathBuf};
use std::rc::Rc;

use rusty_leveldb::{DB, Options, WriteBatch};

use super::order::BytewiseOrder;
use crate::disk::GuardedDisk;
use crate::engine::TableWriter;
use crate::engine::leveldb::env::{DurableEnv, TableCurrent, silent_log};
use crate::engine::leveldb::guard::{BEHIND_EVERY_KEY, guard};
use crate::error::StorageError;
use crate::file::marker;
use crate::health::Fault;

/// Pairs are handed to LevelDB in batches of about this size, or that of a table file if it is
/// less.
const BATCH_BYTES: usize = 128 * 1024;
/// No table file is asked to be larger: one that is to be read has less than 4 GiB.
const MAX_TABLE_BYTES: usize = 1 << 30;
/// LevelDB opens every table file that it has written, and never looks at it again. It takes ten of
/// these for itself.
const OPEN_TABLES: usize = 12;

/// Invariant: `db` is `None` only after a fault.
pub(crate) struct LevelDbTableWriter {
    disk: GuardedDisk,
    dir: PathBuf,
    db: Option<DB>,
    root: TableCurrent,
    batch: WriteBatch,
    batch_bytes: usize,
    max_batch_bytes: usize,
    last: Option<Vec<u8>>,
}

impl LevelDbTableWriter {
    /// Begins a table in `dir`, which is empty or missing.
    pub(crate) fn create(disk: &GuardedDisk, dir: &Path, table_file_bytes: usize) -> Result<Self, Fault> {
        disk.create_dir(dir)?;
        if let Some(name) = disk.list(dir)?.first() {
            return Err(disk.damaged(&dir.join(name), "in the way of a new table"));
        }
        let root = TableCurrent::default();
        let env = DurableEnv::for_table(disk.clone(), dir, root.clone())?;
        let engine_options = Options {
            cmp: Rc::new(Box::new(BytewiseOrder)),
            write_buffer_size: table_file_bytes.min(MAX_TABLE_BYTES),
            max_open_files: OPEN_TABLES,
            env: Rc::new(Box::new(env)),
            log: Some(silent_log()),
            reuse_logs: false,
            reuse_manifest: false,
            ..Options::default()
        };
        let db = guard(disk, dir, || DB::open(dir, engine_options))?;
        let max_batch_bytes = BATCH_BYTES.min(table_file_bytes);
        let (batch, batch_bytes) = (WriteBatch::default(), 0);
        let (disk, dir) = (disk.clone(), dir.to_owned());
        Ok(Self { disk, dir, db: Some(db), root, batch, batch_bytes, max_batch_bytes, last: None })
    }

    fn call(&mut self, call: impl FnOnce(&mut DB) -> rusty_leveldb::Result<()>) -> Result<(), Fault> {
        let not_open = || self.disk.damaged(&self.dir, "the table has been given up");
        let mut db = self.db.take().ok_or_else(not_open)?;
        guard(&self.disk, &self.dir, || call(&mut db))?;
        self.db = Some(db);
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), Fault> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.call(|db| db.write(batch, false))
    }

    fn expect_ascent(&mut self, key: &[u8]) -> Result<(), Fault> {
        match &mut self.last {
            Some(last) if key <= last.as_slice() => {
                Err(self.disk.damaged(&self.dir, "the keys of the table do not ascend"))
            }
            Some(last) => {
                key.clone_into(last);
                Ok(())
            }
            none => {
                *none = Some(key.to_vec());
                Ok(())
            }
        }
    }
}

impl TableWriter for LevelDbTableWriter {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.expect_ascent(key)?;
        self.batch.put(key, value);
        self.batch_bytes += key.len() + value.len();
        if self.batch_bytes >= self.max_batch_bytes {
            self.write_batch()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.write_batch()?;
        // Makes a table file of the last pairs; there is nothing else in this range.
        self.call(|db| db.compact_range(&BEHIND_EVERY_KEY, &BEHIND_EVERY_KEY))?;
        // Closed, MANIFEST and then WITNESS are durable.
        guard(&self.disk, &self.dir, || {
            drop(self.db.take());
            Ok(())
        })?;
        self.disk.sync_dir(&self.dir)?;
        Ok(marker::replace(&self.disk, &self.dir.join("CURRENT"), &self.root.borrow())?)
    }
}
