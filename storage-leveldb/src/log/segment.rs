//! A part of the log, with entries that follow each other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::key::{self, Mark};
use super::marks::Marks;
use super::root::{Form, SegmentRecord};
use crate::disk::GuardedDisk;
use crate::engine::{Batch, Durability, EngineFactory, KeyRange, Run, ScanLimit, Served, WriteTime, latched};
use crate::error::StorageError;

/// Version of the records in a segment.
pub(super) const FORMAT: u8 = 3;
/// Where a segment starts that has not been begun.
const NOWHERE: u64 = u64::MAX;

/// A segment, open.
///
/// Invariants: entries from `start` on are in this segment or a newer one and in no older one, which is durable;
/// `database` is there if it is one, and is what `reads` reads.
pub(crate) struct Segment {
    pub(crate) record: SegmentRecord,
    pub(super) dir: PathBuf,
    disk: GuardedDisk,
    start: AtomicU64,
    reads: Arc<dyn Run>,
    database: Option<Arc<Served>>,
}

impl Segment {
    /// Creates a database in its directory in `log_dir`; durable when this returns, and not begun.
    pub(crate) fn create(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        log_dir: &Path,
        record: SegmentRecord,
    ) -> Result<Self, StorageError> {
        let this = Self::open_files(factory, disk, log_dir, record)?;
        let mut batch = Batch::default();
        batch.put(Mark::Format.key(), vec![FORMAT].into());
        this.write(batch, Durability::Synced)?;
        Ok(this)
    }

    /// Makes it the newest one, where `marks` say that the log ends; durable when this returns.
    pub(crate) fn begin(&self, marks: &Marks) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        marks.begin(&mut batch);
        self.write(batch, Durability::Synced)?;
        self.set_start(marks.end);
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
            return Err(disk.damaged(&dir, "missing, although ROOT names it").into());
        }
        let this = Self::open_files(factory, disk, log_dir, record)?;
        match this.mark(Mark::Format)?.as_deref() {
            Some([FORMAT]) => {}
            other => {
                let reason = format!("segment format {other:?}; this version reads format {FORMAT} only");
                return Err(disk.damaged(&dir, reason).into());
            }
        }
        if let Some(start) = this.mark(Mark::Start)? {
            this.set_start(codec::decode(&start).map_err(|e| disk.damaged(&dir, e))?);
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
        let (reads, database): (Arc<dyn Run>, _) = match record.form {
            Form::Run => (latched(disk, &dir, factory.clone().open_run(&dir))?, None),
            Form::Database => {
                let factory = factory.clone();
                let served = Served::start("raft-log-segment", &dir, move |dir| factory.open(dir));
                let served = Arc::new(latched(disk, &dir, served)?);
                (served.clone(), Some(served))
            }
        };
        let start = AtomicU64::new(NOWHERE);
        Ok(Self { record, dir, disk: disk.clone(), start, reads, database })
    }

    /// Something was written to it.
    pub(crate) fn is_begun(&self) -> bool {
        self.start() != NOWHERE
    }

    /// The index from which on no older segment counts.
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Acquire)
    }

    /// A durable mark says so.
    pub(super) fn set_start(&self, start: u64) {
        self.start.store(start, Ordering::Release);
    }

    pub(super) fn is_database(&self) -> bool {
        self.database.is_some()
    }

    pub(crate) fn mark(&self, mark: Mark) -> Result<Option<Bytes>, StorageError> {
        latched(&self.disk, &self.dir, self.reads.get(&mark.key()))
    }

    pub(super) fn get(&self, index: u64) -> Result<Option<Bytes>, StorageError> {
        latched(&self.disk, &self.dir, self.reads.get(&key::entry(index)))
    }

    /// Pairs of it, whether they count or not.
    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        latched(&self.disk, &self.dir, self.reads.scan(range, limit))
    }

    pub(super) fn write(&self, batch: Batch, durability: Durability) -> Result<WriteTime, StorageError> {
        let no_database = || self.disk.damaged(&self.dir, "a run cannot be written to");
        let database = self.database.as_ref().ok_or_else(no_database)?;
        latched(&self.disk, &self.dir, database.write(batch, durability))
    }
}
