//! A part of the log, with entries that follow each other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc::WeakSender;

use super::bundle::{self, Record, Unbundle};
use super::key::{self, Mark};
use super::manifest::segment_name;
use super::marks::FORMAT;
use super::request::{Read, Request, Scanned};
use crate::disk::GuardedDisk;
use crate::engine::{EngineFactory, KeyRange, Run, ScanLimit, Served, latched};
use crate::error::StorageError;

/// As little as a scan can answer.
const ONE_PAIR: ScanLimit = ScanLimit { pairs: 1, bytes: 1 };
/// Where a segment starts that has not been begun.
const NOWHERE: u64 = u64::MAX;

/// Where the segment's database is open.
enum Opened {
    Nowhere,
    /// On a thread of its own, for readers.
    Reading(Arc<Served>),
    /// On the writer's thread.
    Writing(WeakSender<Request>),
}

/// A segment: a database in a directory of its own.
///
/// Invariants: entries from `start` on are in this segment or a newer one and in no older one,
/// which is durable; the database is open once at most.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(super) dir: PathBuf,
    disk: GuardedDisk,
    factory: Arc<dyn EngineFactory>,
    start: AtomicU64,
    opened: Mutex<Opened>,
}

impl Segment {
    /// One whose files have been made in `log_dir`, and which is not open.
    pub(super) fn new(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        log_dir: &Path,
        number: u64,
    ) -> Self {
        Self {
            number,
            dir: log_dir.join(segment_name(number)),
            disk: disk.clone(),
            factory: factory.clone(),
            start: AtomicU64::new(NOWHERE),
            opened: Mutex::new(Opened::Nowhere),
        }
    }

    /// Opens the segment in its directory in `log_dir`, for reading.
    pub(crate) fn open(
        factory: &Arc<dyn EngineFactory>,
        disk: &GuardedDisk,
        log_dir: &Path,
        number: u64,
    ) -> Result<Self, StorageError> {
        let this = Self::new(factory, disk, log_dir, number);
        if !latched(disk, &this.dir, factory.exists(&this.dir))? {
            return Err(disk.damaged(&this.dir, "missing, although ROOT names it").into());
        }
        let Some(start) = this.mark(Mark::Start)? else {
            return Ok(this);
        };
        let format = this.mark(Mark::Format)?;
        if format.as_deref() != Some(&[FORMAT]) {
            let reason = format!("segment format {format:?}; this version reads format {FORMAT} only");
            return Err(disk.damaged(&this.dir, reason).into());
        }
        this.set_start(codec::decode(&start).map_err(|e| disk.damaged(&this.dir, e))?);
        Ok(this)
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer is about to open it: readers ask the writer from now on.
    pub(super) fn hand_to_writer(&self, writer: WeakSender<Request>) {
        *self.opened() = Opened::Writing(writer);
    }

    /// The writer has closed it: the next reader opens it for itself.
    pub(super) fn is_closed(&self) {
        debug_assert!(matches!(*self.opened(), Opened::Writing(_)), "the writer had it");
        *self.opened() = Opened::Nowhere;
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

    pub(crate) fn mark(&self, mark: Mark) -> Result<Option<Bytes>, StorageError> {
        let range = KeyRange { start: mark.key().into(), end: None };
        let found = self.scan(&range, ONE_PAIR)?.into_iter().next();
        Ok(found.filter(|(key, _)| *key == mark.key()).map(|(_, record)| record))
    }

    /// Entries of `range` in their order, from the first that is there, until the pairs that hold
    /// them add up to `limit_bytes`; at least one if there is one.
    pub(super) fn entries(&self, range: Range<u64>, limit_bytes: usize) -> Result<Vec<Record>, StorageError> {
        let limit = ScanLimit { pairs: usize::MAX, bytes: limit_bytes };
        let mut from = self.bundle_of(range.start)?;
        let mut found = Vec::new();
        while found.is_empty() {
            let pairs = self.scan(&key::entries(from, range.end), limit)?;
            let Some((last, _)) = pairs.last() else { break };
            from = self.index_of(last)?.saturating_add(1);
            found = self.entries_of(&pairs)?;
            found.retain(|(index, _)| range.contains(index));
        }
        Ok(found)
    }

    /// The entries in pairs that follow each other.
    fn entries_of(&self, pairs: &[(Bytes, Bytes)]) -> Result<Vec<Record>, StorageError> {
        let mut unbundle = Unbundle::default();
        let mut found = Vec::new();
        for (key, value) in pairs {
            let first = self.index_of(key)?;
            let malformed = |e| self.disk.damaged(&self.dir, format!("the bundle of log entry {first} {e}"));
            found.extend(unbundle.push(first, value).map_err(malformed)?);
        }
        let next = self.first_key(unbundle.doubtful())?;
        found.extend(unbundle.finish(next.unwrap_or(u64::MAX)));
        Ok(found)
    }

    /// The index in the key of the bundle that has entry `index`, if it is there; `index` if it
    /// is not.
    fn bundle_of(&self, index: u64) -> Result<u64, StorageError> {
        if self.first_key(index..index.saturating_add(1))?.is_some() {
            return Ok(index);
        }
        Ok(self.last_key(bundle::first_possible(index)..index)?.unwrap_or(index))
    }

    /// The index behind the last entry of `range`, which begins where a bundle does or before;
    /// `None` if nothing tells.
    pub(super) fn end(&self, range: Range<u64>) -> Result<Option<u64>, StorageError> {
        let Some(last) = self.last_key(range.clone())? else {
            return Ok(None);
        };
        let entries = self.entries(last..range.end, 1)?;
        Ok(Some(entries.last().map_or(last, |(index, _)| index.saturating_add(1))))
    }

    /// The index in the first key that has one of `range`.
    fn first_key(&self, range: Range<u64>) -> Result<Option<u64>, StorageError> {
        if range.is_empty() {
            return Ok(None);
        }
        let found = self.scan(&key::entries(range.start, range.end), ONE_PAIR)?;
        found.first().map(|(key, _)| self.index_of(key)).transpose()
    }

    /// The index in the last key that has one of `range`: there is none from `range.end` on,
    /// which is halved away.
    fn last_key(&self, mut range: Range<u64>) -> Result<Option<u64>, StorageError> {
        let mut last = None;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            match self.first_key(middle..range.end)? {
                Some(found) => {
                    last = Some(found);
                    range.start = found.saturating_add(1);
                }
                None => range.end = middle,
            }
        }
        Ok(last)
    }

    fn index_of(&self, key: &[u8]) -> Result<u64, StorageError> {
        let no_entry =
            || self.disk.damaged(&self.dir, format!("no entry has the key {}", key.escape_ascii()));
        Ok(key::index_of(key).ok_or_else(no_entry)?)
    }

    /// Pairs of it, whether they count or not. Blocks on the disk.
    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        loop {
            let opened = match &mut *self.opened() {
                Opened::Writing(writer) => Err(writer.clone()),
                Opened::Reading(served) => Ok(served.clone()),
                closed @ Opened::Nowhere => {
                    let served = self.open_for_reading()?;
                    *closed = Opened::Reading(served.clone());
                    Ok(served)
                }
            };
            match opened {
                Ok(served) => return latched(&self.disk, &self.dir, served.scan(range, limit)),
                Err(writer) => {
                    if let Some(result) = self.ask(&writer, range, limit)? {
                        return result;
                    }
                }
            }
        }
    }

    fn open_for_reading(&self) -> Result<Arc<Served>, StorageError> {
        let factory = self.factory.clone();
        let served = Served::start("raft-log-segment", &self.dir, move |dir| factory.open(dir));
        Ok(Arc::new(latched(&self.disk, &self.dir, served)?))
    }

    fn ask(
        &self,
        writer: &WeakSender<Request>,
        range: &KeyRange,
        limit: ScanLimit,
    ) -> Result<Scanned, StorageError> {
        let writer = writer.upgrade().ok_or(StorageError::Closed)?;
        let (answer, answered) = sync_channel(1);
        let read = Read { number: self.number, range: range.clone(), limit, answer };
        writer.blocking_send(Request::Read(read)).map_err(|_| StorageError::Closed)?;
        answered.recv().map_err(|_| StorageError::Closed)
    }
}
