//! The handle to the log: opening it, changing it, reading it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::block_builder::EncodedEntries;
use super::entry_block::EntryBlock;
use super::maintenance::Maintenance;
use super::maintenance_thread::MaintenanceThread;
use super::manifest::PurgePoint;
use super::recovery::{LogDir, Recovered};
use super::request::{Done, Queued, Request};
use super::segments::SharedSegments;
use super::tail::{SharedTail, Tail};
use super::writer::Writer;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::options::Options;

/// Requests that wait for the writer; more wait for room.
const QUEUE_REQUESTS: usize = 4096;
/// Entries that are not yet durable, in KiB of records; an append that would exceed it waits.
const MAX_UNSYNCED_KIB: u32 = 64 * 1024;
/// Entries read at once, in bytes of their records (one entry may be larger). Well under the 4 MiB
/// that gRPC accepts by default, whatever the network adds.
const MAX_READ_BYTES: usize = 1024 * 1024;
/// The same from disk: appends and votes wait for it where it is read from the segment that is
/// written.
const MAX_DISK_READ_BYTES: usize = 256 * 1024;

/// What opens the databases of a log.
pub(crate) struct LogEngines {
    pub(crate) factory: Arc<dyn EngineFactory>,
    /// Opens databases without changing anything on the disk, and latches nothing.
    pub(crate) read_only: Arc<dyn EngineFactory>,
}

/// A log, and what was found in it.
pub(crate) struct OpenedLog {
    pub(crate) log: SegmentedLog,
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    pub(crate) purged: Option<PurgePoint>,
    /// That of the last entry.
    pub(crate) last_record: Option<Bytes>,
    /// Where the hard state was found.
    pub(crate) newest_dir: PathBuf,
}

/// An open log. Its threads end when this is dropped, in the order of the fields: first the writer,
/// which serves what was asked for, then the maintenance, then those of the segments.
pub(crate) struct SegmentedLog {
    queue: mpsc::Sender<Queued>,
    _writer: WriterEnd,
    maintenance: MaintenanceThread,
    segments: Arc<SharedSegments>,
    pub(crate) disk: GuardedDisk,
    pub(crate) dir: PathBuf,
    tail: Arc<SharedTail>,
    room: Arc<Semaphore>,
}

/// Dropping this waits for the writer, which ends when the queue has no sender any more.
struct WriterEnd(Mutex<Receiver<()>>);

impl Drop for WriterEnd {
    fn drop(&mut self) {
        // Nothing is ever sent: this is the sender being dropped.
        let _ = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).recv();
    }
}

impl SegmentedLog {
    /// Opens the log in `dir`, creates it if `may_create`, and starts its threads. Blocks on the
    /// disk.
    pub(crate) fn open(
        dir: &Path,
        engines: LogEngines,
        disk: GuardedDisk,
        options: &Options,
        may_create: bool,
    ) -> Result<OpenedLog, StorageError> {
        let LogEngines { factory, read_only } = engines;
        let log_dir = LogDir { dir, disk: &disk, factory: &factory, read_only: read_only.as_ref() };
        let found = log_dir.recover(may_create)?;
        let Recovered { hard_state, purged, entries, last_record, active, .. } = found;
        let (vote, committed) = (hard_state.vote.clone(), hard_state.committed.clone());
        let newest_dir = active.dir.clone();
        let tail = Arc::new(SharedTail::new(Tail::new(entries, options.tail_bytes)));
        let segments = Arc::new(SharedSegments::new(found.segments));
        let maintenance = Maintenance {
            dir: dir.to_owned(),
            disk: disk.clone(),
            factory,
            segments: segments.clone(),
            manifest: found.manifest,
            next_number: found.next_number,
            purged: purged.clone(),
            segment_bytes: options.log_segment_bytes,
            removed: Vec::new(),
        };
        let maintenance = maintenance.start(found.prepared)?;
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS);
        let (ended, writer_end) = channel();
        let writer = Writer {
            requests,
            first: None,
            hard_state,
            tail: tail.clone(),
            disk: disk.clone(),
            segments: segments.clone(),
            maintenance: maintenance.tasks.clone(),
            active: active.clone(),
            begins: false,
            active_bytes: 0,
            segment_bytes: options.log_segment_bytes,
            since: Instant::now(),
            _ended: ended,
        };
        active.begin_writes(Box::new(writer))?;
        let room = Arc::new(Semaphore::new(MAX_UNSYNCED_KIB as usize));
        let (writer, dir) = (WriterEnd(Mutex::new(writer_end)), dir.to_owned());
        let log = Self { queue, _writer: writer, maintenance, segments, disk, dir, tail, room };
        Ok(OpenedLog { log, vote, committed, purged, last_record, newest_dir })
    }

    /// What is in the whole storage has been found good: from now on the log's directory is tidied.
    pub(crate) fn begin(&self) {
        self.maintenance.tasks.begin();
    }

    /// What must hold between two calls.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.tail.lock().check_invariants()?;
        self.segments.check_invariants()
    }

    /// After a fault every call answers with it, those that need no disk too.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        Ok(self.disk.health.check()?)
    }

    /// The indexes of the entries that can be read.
    pub(crate) fn bounds(&self) -> Range<u64> {
        let tail = self.tail.lock();
        tail.log_start()..tail.end()
    }

    async fn send(&self, request: Request) -> Result<(), StorageError> {
        self.check()?;
        self.queue.send((Instant::now(), request)).await.map_err(|_| StorageError::Closed)
    }

    /// Sends a request whose outcome is waited for.
    async fn ask(&self, request: impl FnOnce(Done) -> Request) -> Result<(), StorageError> {
        let (sender, answer) = oneshot::channel();
        // The caller may have gone away.
        let done = Box::new(move |result| drop(sender.send(result)));
        self.send(request(done)).await?;
        answer.await.map_err(|_| StorageError::Closed)?
    }

    /// Adds entries at the end. They can be read when this returns, and are durable when `done` is
    /// called.
    pub(crate) async fn append(&self, entries: EncodedEntries, done: Done) -> Result<(), StorageError> {
        let EncodedEntries { first, blocks, records } = entries;
        let kib = kib_of(&blocks);
        if !records.is_empty() {
            self.tail.lock().append(first, records);
        }
        let room = self.room.clone().acquire_many_owned(kib).await;
        let room = room.map_err(|_| StorageError::Closed)?;
        self.send(Request::Append { blocks, room, done }).await
    }

    /// Stores a vote; durable when this returns.
    pub(crate) async fn save_vote(&self, record: Bytes) -> Result<(), StorageError> {
        self.ask(|done| Request::Vote { record, done }).await
    }

    /// Stores the committed id, behind what was appended before.
    pub(crate) async fn save_committed(&self, record: Bytes) -> Result<(), StorageError> {
        self.send(Request::Committed { record }).await
    }

    /// Removes the entries from `from` on, which are gone for readers at once; durable when this
    /// returns.
    pub(crate) async fn truncate(&self, from: u64) -> Result<(), StorageError> {
        let end = {
            let mut tail = self.tail.lock();
            let end = tail.end();
            if from >= end {
                return Ok(());
            }
            tail.truncate(from);
            end
        };
        self.ask(|done| Request::Truncate { from, end, done }).await
    }

    /// The entries before this point are gone for readers, and may go.
    pub(crate) async fn purge(&self, point: PurgePoint) -> Result<(), StorageError> {
        let record = codec::encode(&point).map_err(|e| self.disk.damaged(&self.dir, e))?.into();
        self.tail.lock().purge(point.end);
        self.send(Request::Purge { point, record }).await
    }

    /// Records of some entries of `range`, from its start on: at least one, or none if they have
    /// been truncated or purged meanwhile.
    pub(crate) async fn records(self: &Arc<Self>, range: Range<u64>) -> Result<Vec<Bytes>, StorageError> {
        let Range { start, end } = range;
        let tail_first = {
            let tail = self.tail.lock();
            if start >= tail.first() {
                return Ok(tail.read(start..end, MAX_READ_BYTES));
            }
            tail.first()
        };
        let this = self.clone();
        let read = move || this.records_on_disk(start, end.min(tail_first));
        tokio::task::spawn_blocking(read).await.map_err(|_| StorageError::Closed)?
    }

    /// Records of entries that are durable. Blocks on the disk.
    fn records_on_disk(&self, start: u64, end: u64) -> Result<Vec<Bytes>, StorageError> {
        let records = self.segments.get().records(start, end, MAX_DISK_READ_BYTES)?;
        if records.is_empty() {
            self.check_gone(start)?;
        }
        Ok(records)
    }

    /// An entry without a record must have been purged or truncated meanwhile.
    fn check_gone(&self, index: u64) -> Result<(), StorageError> {
        let tail = self.tail.lock();
        if index < tail.log_start() || index >= tail.first() {
            return Ok(());
        }
        Err(self.disk.damaged(&self.dir, format!("log entry {index} is missing")).into())
    }
}

/// Permits that blocks of this size need.
fn kib_of(blocks: &[EntryBlock]) -> u32 {
    let bytes: usize = blocks.iter().map(EntryBlock::bytes).sum();
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, MAX_UNSYNCED_KIB)
}
