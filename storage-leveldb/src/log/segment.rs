//! A part of the log, with entries that follow each other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::entry_block::{self, BlockReader, Record};
use super::hard_state::HardState;
use super::key::{self, MetaKey};
use super::manifest::{Form, SegmentRecord};
use crate::disk::GuardedDisk;
use crate::engine::{Batch, Durability, EngineFactory, Served, Table, WriteSource, latched};
use crate::error::StorageError;
use crate::owned_thread::latching;
use crate::scan::{KeyRange, ScanLimit};

/// Version of what is in a segment.
pub(super) const FORMAT: u8 = 1;
/// As little as a scan can answer.
const ONE_PAIR: ScanLimit = ScanLimit { pairs: 1, bytes: 1 };
/// Where a segment starts that has not been begun.
const NOT_BEGUN: u64 = u64::MAX;

/// A segment, open.
///
/// Invariants: entries from `start` on are in this segment or a newer one and in no older one,
/// which is durable; `database` is there if it is one, and is what `reads` reads.
pub(crate) struct Segment {
    pub(crate) record: SegmentRecord,
    pub(super) dir: PathBuf,
    disk: GuardedDisk,
    start: AtomicU64,
    reads: Arc<dyn Table>,
    database: Option<Arc<Served>>,
}

impl Segment {
    /// Creates a database in its directory in `log_dir`; durable when this returns, and not begun.
    pub(super) fn create(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        log_dir: &Path,
        record: SegmentRecord,
    ) -> Result<Self, StorageError> {
        let this = Self::open_files(factory, disk, log_dir, record)?;
        let mut batch = Batch::default();
        batch.put(MetaKey::Format.key(), vec![FORMAT].into());
        this.write(batch, Durability::Synced)?;
        Ok(this)
    }

    /// Makes it the newest one, where the log ends by its hard state; durable when this returns.
    pub(super) fn begin(&self, hard_state: &HardState) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        hard_state.begin(&mut batch);
        self.write(batch, Durability::Synced)?;
        self.set_start(hard_state.end);
        Ok(())
    }

    /// Opens the segment in its directory in `log_dir`.
    pub(crate) fn open(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        log_dir: &Path,
        record: SegmentRecord,
    ) -> Result<Self, StorageError> {
        let dir = log_dir.join(record.name());
        if !latched(disk, &dir, factory.exists(&dir))? {
            return Err(disk.damaged(&dir, "missing, although MANIFEST names it").into());
        }
        let this = Self::open_files(factory, disk, log_dir, record)?;
        let format = this.record_at(MetaKey::Format)?;
        if format.as_deref() != Some(&[FORMAT]) {
            let reason = format!("segment format {format:?}; this version reads format {FORMAT} only");
            return Err(disk.other_format(&dir, reason).into());
        }
        if let Some(start) = this.record_at(MetaKey::Start)? {
            let start = codec::decode(&start).map_err(|e| disk.damaged(&dir, e))?;
            if start == NOT_BEGUN {
                return Err(disk.damaged(&dir, format!("starts at entry {start}")).into());
            }
            this.set_start(start);
        }
        Ok(this)
    }

    fn open_files(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        log_dir: &Path,
        record: SegmentRecord,
    ) -> Result<Self, StorageError> {
        let dir = log_dir.join(record.name());
        let (reads, database): (Arc<dyn Table>, _) = match record.form {
            Form::Table => (latched(disk, &dir, factory.clone().open_table(&dir))?, None),
            Form::Database => {
                let factory = factory.clone();
                let served = Served::start("raft-log", &dir, move |dir| factory.open(dir));
                let served = Arc::new(latched(disk, &dir, served)?);
                (served.clone(), Some(served))
            }
        };
        let start = AtomicU64::new(NOT_BEGUN);
        Ok(Self { record, dir, disk: disk.clone(), start, reads, database })
    }

    /// Something was written to it.
    pub(crate) fn is_begun(&self) -> bool {
        self.start() != NOT_BEGUN
    }

    /// The index from which on no older segment counts.
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// A durable record says so.
    pub(super) fn set_start(&self, start: u64) {
        debug_assert!(start <= self.start(), "only a truncation moves it, towards older entries");
        self.start.store(start, Ordering::Release);
    }

    pub(super) fn is_database(&self) -> bool {
        self.database.is_some()
    }

    pub(crate) fn record_at(&self, key: MetaKey) -> Result<Option<Bytes>, StorageError> {
        latched(&self.disk, &self.dir, self.reads.get(&key.key()))
    }

    /// Entries of `range` in their order, from the first that is there, until the pairs that hold
    /// them add up to `limit_bytes`; at least one if there is one.
    pub(super) fn entries(&self, range: Range<u64>, limit_bytes: usize) -> Result<Vec<Record>, StorageError> {
        let limit = ScanLimit { pairs: usize::MAX, bytes: limit_bytes };
        let mut found = Vec::new();
        if range.is_empty() {
            return Ok(found);
        }
        let mut from = self.block_of(range.start)?;
        while found.is_empty() {
            let pairs = self.scan(&key::entries(from, range.end), limit)?;
            let Some((last, _)) = pairs.last() else { break };
            from = self.index_of(last)? + 1;
            found = self.entries_of(&pairs)?;
            found.retain(|(index, _)| range.contains(index));
        }
        Ok(found)
    }

    /// The entries in pairs that follow each other.
    fn entries_of(&self, pairs: &[(Bytes, Bytes)]) -> Result<Vec<Record>, StorageError> {
        let mut blocks = BlockReader::default();
        let mut found = Vec::new();
        for (key, value) in pairs {
            let first = self.index_of(key)?;
            let malformed = |e| self.disk.damaged(&self.dir, format!("the block of log entry {first} {e}"));
            found.extend(blocks.push(first, value).map_err(malformed)?);
        }
        let next = self.first_key(blocks.uncertain())?;
        found.extend(blocks.finish(next.unwrap_or(u64::MAX)));
        Ok(found)
    }

    /// The index in the key of the block that has entry `index`, if it is there; `index` if it is
    /// not.
    pub(super) fn block_of(&self, index: u64) -> Result<u64, StorageError> {
        if self.first_key(index..index + 1)?.is_some() {
            return Ok(index);
        }
        Ok(self.last_key(entry_block::first_possible(index)..index)?.unwrap_or(index))
    }

    /// The index behind the last entry of `range`, which begins where a block does or before;
    /// `None` if nothing tells.
    pub(super) fn end(&self, range: Range<u64>) -> Result<Option<u64>, StorageError> {
        let Some(last) = self.last_key(range.clone())? else {
            return Ok(None);
        };
        let entries = self.entries(last..range.end, 1)?;
        Ok(Some(entries.last().map_or(last, |(index, _)| index + 1)))
    }

    /// The index in the first key that has one of `range`.
    fn first_key(&self, range: Range<u64>) -> Result<Option<u64>, StorageError> {
        if range.is_empty() {
            return Ok(None);
        }
        let found = self.scan(&key::entries(range.start, range.end), ONE_PAIR)?;
        found.first().map(|(key, _)| self.index_of(key)).transpose()
    }

    /// The index in the last key that has one of `range`: there is none from `range.end` on, which
    /// is halved away.
    fn last_key(&self, mut range: Range<u64>) -> Result<Option<u64>, StorageError> {
        let mut last = None;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            match self.first_key(middle..range.end)? {
                Some(found) => {
                    last = Some(found);
                    range.start = found + 1;
                }
                None => range.end = middle,
            }
        }
        Ok(last)
    }

    /// The index in an entry's key. It is not the greatest there is, so that one can follow.
    pub(super) fn index_of(&self, key: &[u8]) -> Result<u64, StorageError> {
        let no_entry =
            || self.disk.damaged(&self.dir, format!("no entry has the key {}", key.escape_ascii()));
        Ok(key::index_of(key).filter(|index| *index < u64::MAX).ok_or_else(no_entry)?)
    }

    /// Pairs of it, whether they count or not.
    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        latched(&self.disk, &self.dir, self.reads.scan(range, limit))
    }

    /// So many bytes will be written to it.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), StorageError> {
        latched(&self.disk, &self.dir, self.database()?.reserve(bytes))
    }

    /// Has `source` make its writes on the thread of the database.
    pub(super) fn begin_writes(&self, source: Box<dyn WriteSource>) -> Result<(), StorageError> {
        latched(&self.disk, &self.dir, self.database()?.begin_writes(source))
    }

    /// Runs a part of what that thread does. A panic is a fault, and answers `None`.
    pub(super) fn latching<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        latching(&self.disk, &self.dir, body)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        latched(&self.disk, &self.dir, self.database()?.write(batch, durability))
    }

    fn database(&self) -> Result<&Served, StorageError> {
        let no_database = || self.disk.damaged(&self.dir, "a table cannot be written to");
        Ok(self.database.as_deref().ok_or_else(no_database)?)
    }
}
