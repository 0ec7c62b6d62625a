//! A table of the state on disk, and how changes are stored in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::change::Change;
use crate::disk::GuardedDisk;
use crate::engine::{EngineFactory, Table, TableWriter, latched};
use crate::error::StorageError;
use crate::scan::{KeyRange, ScanLimit};

const TABLE: &str = "table-";
/// Before every value: what the pair says. A table hides older ones, so it has to know of
/// deletions.
const DELETED: u8 = 0;
const VALUE: u8 = 1;
const OPERAND: u8 = 2;

/// What is known of a table beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableRecord {
    /// It is in `table-NUMBER`.
    pub(crate) number: u64,
    pub(crate) pairs: u64,
    /// Of keys and values, as they were stored.
    pub(crate) bytes: u64,
}

/// The name of a table's directory.
pub(crate) fn table_dir(number: u64) -> String {
    format!("{TABLE}{number}")
}

/// The number in the name of a table's directory.
pub(crate) fn table_number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix(TABLE)?.parse().ok()
}

/// A complete table of the state.
pub(crate) struct StateTable {
    pub(crate) record: TableRecord,
    pub(crate) dir: PathBuf,
    disk: GuardedDisk,
    table: Arc<dyn Table>,
}

impl StateTable {
    pub(crate) fn open(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        dir: PathBuf,
        record: TableRecord,
    ) -> Result<Self, StorageError> {
        let table = latched(disk, &dir, factory.clone().open_table(&dir))?;
        Ok(Self { record, dir, disk: disk.clone(), table })
    }

    /// What the table says of `key`; `None` if nothing.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Change>, StorageError> {
        let stored = latched(&self.disk, &self.dir, self.table.get(key))?;
        stored.map(|stored| self.decode(key, &stored)).transpose()
    }

    /// Changes in ascending key order, from the start of `range` until `limit`; at least one if
    /// there is one.
    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<(Bytes, Change)>, StorageError> {
        let pairs = latched(&self.disk, &self.dir, self.table.scan(range, limit))?;
        pairs.into_iter().map(|(key, stored)| Ok((key.clone(), self.decode(&key, &stored)?))).collect()
    }

    fn decode(&self, key: &[u8], stored: &Bytes) -> Result<Change, StorageError> {
        match stored.first() {
            Some(&DELETED) if stored.len() == 1 => Ok(Change::Delete),
            Some(&VALUE) => Ok(Change::Put(stored.slice(1..))),
            Some(&OPERAND) => Ok(Change::Merge(stored.slice(1..))),
            _ => {
                let reason = format!("the record of key {} is no change", key.escape_ascii());
                Err(self.disk.damaged(&self.dir, reason).into())
            }
        }
    }
}

/// Writes a table of the state. Dropped before it is finished, its directory goes away.
pub(crate) struct StateTableWriter {
    writer: Option<Box<dyn TableWriter>>,
    record: TableRecord,
    dir: PathBuf,
    disk: GuardedDisk,
    stored: Vec<u8>,
}

impl StateTableWriter {
    pub(crate) fn create(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        dir: PathBuf,
        number: u64,
    ) -> Result<Self, StorageError> {
        let record = TableRecord { number, pairs: 0, bytes: 0 };
        // What it has created is removed also if it cannot be created.
        let mut this = Self { writer: None, record, dir, disk: disk.clone(), stored: Vec::new() };
        this.writer = Some(latched(disk, &this.dir, factory.write_table(&this.dir))?);
        Ok(this)
    }

    /// Adds a change. Keys come in strictly ascending order.
    pub(crate) fn push(&mut self, key: &[u8], change: &Change) -> Result<(), StorageError> {
        let (says, value) = match change {
            Change::Put(value) => (VALUE, &**value),
            Change::Delete => (DELETED, &[][..]),
            Change::Merge(operand) => (OPERAND, &**operand),
        };
        self.stored.clear();
        self.stored.push(says);
        self.stored.extend_from_slice(value);
        self.record.pairs += 1;
        self.record.bytes += (key.len() + self.stored.len()) as u64;
        let writer = self.writer.as_mut().ok_or(StorageError::Closed)?;
        latched(&self.disk, &self.dir, writer.push(key, &self.stored))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.record.pairs == 0
    }

    /// Completes the table, durably.
    pub(crate) fn finish(mut self) -> Result<FinishedTable, StorageError> {
        let writer = self.writer.take().ok_or(StorageError::Closed)?;
        latched(&self.disk, &self.dir, writer.finish())?;
        let (record, dir, disk) = (self.record, self.dir.clone(), self.disk.clone());
        self.dir = PathBuf::new();
        Ok(FinishedTable { record, dir, disk })
    }
}

impl Drop for StateTableWriter {
    fn drop(&mut self) {
        self.writer = None;
        remove(&self.disk, &self.dir);
    }
}

/// A complete table that is not part of the state yet; unless it becomes so, its directory goes
/// away.
pub(crate) struct FinishedTable {
    pub(crate) record: TableRecord,
    dir: PathBuf,
    disk: GuardedDisk,
}

impl FinishedTable {
    /// Opens it. From now on only the state's own bookkeeping removes it.
    pub(crate) fn open(mut self, factory: &Arc<dyn EngineFactory>) -> Result<StateTable, StorageError> {
        let table = StateTable::open(factory, &self.disk, self.dir.clone(), self.record)?;
        self.dir = PathBuf::new();
        Ok(table)
    }
}

impl Drop for FinishedTable {
    fn drop(&mut self) {
        remove(&self.disk, &self.dir);
    }
}

/// Removes a table that does not count. An empty path: there is none.
fn remove(disk: &GuardedDisk, dir: &Path) {
    if !dir.as_os_str().is_empty() {
        // What cannot be removed now is removed at the next start.
        let _ = disk.delete_dir(dir);
    }
}
