//! The log's database of formats 1 and 2: one LevelDB of all entries and marks.
//!
//! ```text
//! 01, index u64 big endian   codec bytes of the entry
//! ff "format"                one byte: 1
//! ff "vote" | "purged" | "committed"   as in a segment
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;

use crate::disk::GuardedDisk;
use crate::engine::{Engine, EngineFactory, ScanLimit, latched};
use crate::error::StorageError;
use crate::log::key::{self, Mark};
use crate::log::{Form, Layout, LogRoot, Marks, Segment, SegmentRecord, finish_run};

/// Version of these records.
const RECORDS: [u8; 1] = [1];
/// Read at once.
const PAGE: ScanLimit = ScanLimit { pairs: 2048, bytes: 256 * 1024 };

pub(super) struct OldLog {
    engine: Box<dyn Engine>,
    dir: PathBuf,
    disk: GuardedDisk,
}

impl OldLog {
    /// Opens the database in `dir`.
    pub(super) fn open(
        disk: &GuardedDisk,
        dir: &Path,
        factory: &dyn EngineFactory,
    ) -> Result<Self, StorageError> {
        let mut engine = factory.open(dir)?;
        match engine.get(&Mark::Format.key())?.as_deref() {
            // A first start may have been interrupted before it wrote the format.
            None => {}
            Some(records) if *records == RECORDS => {}
            Some(other) => {
                let reason =
                    format!("log format {other:?}; this version reads format {RECORDS:?} of it only");
                return Err(disk.damaged(dir, reason).into());
            }
        }
        Ok(Self { engine, dir: dir.to_owned(), disk: disk.clone() })
    }

    /// Whether a vote was given or an entry stored.
    pub(super) fn is_used(&mut self) -> Result<bool, StorageError> {
        let first = self.engine.scan(&key::entries(0, u64::MAX), ScanLimit { pairs: 1, bytes: 1 })?;
        Ok(!first.is_empty() || self.engine.get(&Mark::Vote.key())?.is_some())
    }

    /// Writes all of it as segments, and ROOT, which counts once FORMAT says so.
    pub(super) fn write_to<C: RaftTypeConfig>(
        mut self,
        engine: &Arc<dyn EngineFactory>,
    ) -> Result<(), StorageError> {
        let purged = self.engine.get(&Mark::Purged.key())?;
        let purged_id: Option<LogIdOf<C>> = match &purged {
            Some(record) => Some(codec::decode(record).map_err(|e| self.damaged(format!("{e}")))?),
            None => None,
        };
        let there = LogRoot::<C>::there(&self.disk, &self.dir)?;
        let greatest = there.iter().map(|record| record.number).max().unwrap_or(0);
        let run = SegmentRecord { number: greatest.saturating_add(1), form: Form::Run };
        let active = SegmentRecord { number: greatest.saturating_add(2), form: Form::Database };
        let first = purged_id.as_ref().map_or(0, |id| id.index.saturating_add(1));
        let end = self.write_run(engine, run, first)?;
        let marks = Marks {
            vote: self.engine.get(&Mark::Vote.key())?,
            purged,
            committed: self.engine.get(&Mark::Committed.key())?,
            end: end.unwrap_or(first),
        };
        Segment::create(engine, &self.disk, &self.dir, active)?.begin(&marks)?;
        let segments = end.map(|_| run).into_iter().chain([active]).collect();
        Ok(LogRoot::<C> { purged: purged_id, segments }.replace(&self.disk, &self.dir)?)
    }

    fn damaged(&self, reason: String) -> StorageError {
        self.disk.damaged(&self.dir, reason).into()
    }

    /// Writes the entries from `first` on, the index behind the last of which it answers, if there is one.
    fn write_run(
        &mut self,
        engine: &Arc<dyn EngineFactory>,
        record: SegmentRecord,
        first: u64,
    ) -> Result<Option<u64>, StorageError> {
        let dir = self.dir.join(record.name());
        let mut writer = None;
        let mut end = None;
        loop {
            let page = self.engine.scan(&key::entries(end.unwrap_or(first), u64::MAX), PAGE)?;
            for (key, entry) in &page {
                let index = self.follows(key, end)?;
                if writer.is_none() {
                    writer = Some(latched(&self.disk, &dir, engine.write_run(&dir))?);
                }
                if let Some(writer) = &mut writer {
                    latched(&self.disk, &dir, writer.push(key, entry))?;
                }
                end = Some(index.saturating_add(1));
            }
            if page.is_empty() {
                break;
            }
        }
        writer.map_or(Ok(()), |writer| finish_run(&self.disk, &dir, writer, Layout::Single, 0))?;
        Ok(end)
    }

    /// The index in `key`, which must be that behind the entry before it.
    fn follows(&self, key: &Bytes, expected: Option<u64>) -> Result<u64, StorageError> {
        let index =
            key::index_of(key).ok_or_else(|| self.damaged(format!("no entry: {}", key.escape_ascii())))?;
        match expected.filter(|expected| *expected != index) {
            Some(expected) => Err(self.damaged(format!("log entry {expected} is missing"))),
            None => Ok(index),
        }
    }
}
