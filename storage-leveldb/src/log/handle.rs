//! The handle to a log: opening it, changing it and reading it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::bundle::Bundle;
use super::caretaker::{Caretaker, CaretakerStart, CaretakerThread};
use super::contents::SharedContents;
use super::load::{IndexOf, Loaded, Place, load};
use super::request::{Done, Request, StoredLogId, Write};
use super::segments::SharedSegments;
use super::tail::Tail;
use super::writer::{Active, Writer};
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::options::Options;
use crate::owner_thread::{OwnerThread, latching};

/// Requests that wait for the writer; more wait for room.
const QUEUE_REQUESTS: usize = 4096;
/// Entries that are not yet durable, in KiB of records; an append that would exceed it waits.
const MAX_UNSYNCED_KIB: u32 = 64 * 1024;
/// Records read at once from memory, in bytes (one may be larger). Well under the 4 MiB that gRPC
/// accepts by default, whatever the network adds.
const MAX_READ_BYTES: usize = 1024 * 1024;
/// The same from disk: appends and votes wait for it where it is read from the segment that is
/// written.
const MAX_DISK_READ_BYTES: usize = 256 * 1024;

/// What opens the databases of a log.
pub(crate) struct LogEngines {
    pub(crate) factory: Arc<dyn EngineFactory>,
    /// Opens databases without changing anything on the disk, and latches nothing.
    pub(crate) spectator: Arc<dyn EngineFactory>,
}

/// What was found when a log was opened, as it is stored.
pub(crate) struct Found {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    pub(crate) purged: Option<StoredLogId>,
    /// The last entry, if there is one: its index and record.
    pub(crate) last: Option<StoredLogId>,
}

/// A log of records with indexes that follow each other. Cheap to clone. Its threads end when the
/// last clone is dropped.
#[derive(Clone)]
pub(crate) struct Log {
    contents: Arc<SharedContents>,
    segments: Arc<SharedSegments>,
    room: Arc<Semaphore>,
    queue: Arc<OwnerThread<Request>>,
    caretaker: CaretakerStart,
    disk: GuardedDisk,
    dir: Arc<Path>,
}

impl Log {
    /// Opens the log in `dir`, creates it if `may_create`, and starts its threads. Blocks on the
    /// disk.
    pub(crate) fn open(
        dir: &Path,
        engines: LogEngines,
        index_of: IndexOf,
        disk: GuardedDisk,
        options: &Options,
        may_create: bool,
    ) -> Result<(Self, Found), StorageError> {
        let LogEngines { factory, spectator } = engines;
        let place = Place { dir, disk: &disk, factory: &factory, spectator: spectator.as_ref() };
        let Loaded { first, marks, purged, last, segments, active, manifest, next_number } =
            load(&place, index_of, may_create)?;
        let (vote, committed) = (marks.vote.clone(), marks.committed.clone());
        let found = Found { vote, committed, purged: purged.clone(), last };
        let contents = Arc::new(SharedContents::new(first, Tail::new(marks.end, options.tail_bytes)));
        let segments = Arc::new(SharedSegments::new(segments));
        let caretaker = CaretakerThread::start(Caretaker {
            dir: dir.to_owned(),
            disk: disk.clone(),
            factory: factory.clone(),
            segments: segments.clone(),
            manifest,
            next_number,
            purged,
            removed: Vec::new(),
        })?;
        let starter = caretaker.starter();
        let (sender, queue) = mpsc::channel(QUEUE_REQUESTS);
        let requests = sender.downgrade();
        // Until now it was open for reading.
        active.hand_to_writer(requests.clone());
        let (its_contents, its_segments) = (contents.clone(), segments.clone());
        let (its_disk, its_dir) = (disk.clone(), dir.to_owned());
        let segment_bytes = options.log_segment_bytes;
        let start = move || {
            let segment_dir = active.dir.clone();
            let open = Box::new(move || factory.open(&segment_dir));
            let active = Active::open(active, &its_disk, open)?;
            let writer = Writer {
                queue,
                requests,
                marks,
                active,
                contents: its_contents,
                segments: its_segments,
                caretaker,
                disk: its_disk.clone(),
                segment_bytes,
                reads: std::collections::VecDeque::new(),
            };
            Ok(((), move || latching(&its_disk, &its_dir, || writer.run())))
        };
        let (thread, ()) = OwnerThread::start("raft-log", sender, start)?;
        let room = Arc::new(Semaphore::new(MAX_UNSYNCED_KIB as usize));
        let queue = Arc::new(thread);
        let this = Self { contents, segments, room, queue, caretaker: starter, disk, dir: dir.into() };
        Ok((this, found))
    }

    /// What is in the whole storage has been found good: from now on the log's directory is tidied.
    pub(crate) fn begin(&self) {
        self.caretaker.begin();
    }

    /// What must hold between two calls.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.contents.check_invariants()?;
        self.segments.check_invariants()
    }

    pub(crate) fn disk(&self) -> &GuardedDisk {
        &self.disk
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// After a fault every call answers with it, those that need no disk too.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        Ok(self.disk.health.check()?)
    }

    /// The first entry's index, and the one behind the last.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let contents = self.contents.lock();
        (contents.first, contents.tail.end())
    }

    async fn send(&self, write: Write) -> Result<(), StorageError> {
        self.check()?;
        let sent = self.queue.send(Request::Write(write, Instant::now())).await;
        self.or_fault(sent)
    }

    /// A writer that has ended says less than the fault that ended it.
    fn or_fault<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.or_else(|e| self.check().and(Err(e)))
    }

    /// Sends a write, and waits until it is durable.
    async fn send_and_wait(&self, write: impl FnOnce(Done) -> Write) -> Result<(), StorageError> {
        let (told, answer) = oneshot::channel();
        // The caller may have gone away.
        let done: Done = Box::new(move |result| drop(told.send(result)));
        self.send(write(done)).await?;
        self.or_fault(answer.await.unwrap_or(Err(StorageError::Closed)))
    }

    /// Appends entries from `first` on: readers find their `records` at once, `done` is called when
    /// the `bundles` of them are durable. A log without entries begins there.
    pub(crate) async fn append(
        &self,
        first: u64,
        records: Vec<Bytes>,
        bundles: Vec<Bundle>,
        done: Done,
    ) -> Result<(), StorageError> {
        {
            let mut contents = self.contents.lock();
            if contents.first >= contents.tail.end() {
                contents.first = first;
                contents.tail.begin_at(first);
            }
            debug_assert_eq!(contents.tail.end(), first, "a log has no holes");
            records.into_iter().for_each(|record| contents.tail.push(record));
        }
        let room = self.room.clone().acquire_many_owned(kib_of(&bundles)).await;
        let room = room.map_err(|_| StorageError::Closed)?;
        self.send(Write::Append { bundles, room, done }).await
    }

    /// Stores an encoded vote; durable when this returns.
    pub(crate) async fn vote(&self, record: Bytes) -> Result<(), StorageError> {
        self.send_and_wait(|done| Write::Vote { record, done }).await
    }

    /// The log is committed up to an entry that was appended. The mark goes with what is written
    /// next behind that entry.
    pub(crate) fn committed(&self, log_id: StoredLogId) {
        self.contents.lock().committed = Some(log_id);
    }

    /// Removes the entries from `from` on; durable when this returns.
    pub(crate) async fn truncate(&self, from: u64) -> Result<(), StorageError> {
        let end = {
            let mut contents = self.contents.lock();
            let end = contents.tail.end();
            contents.tail.truncate(from);
            contents.first = contents.first.min(from);
            end
        };
        self.send_and_wait(|done| Write::Truncate { from, end, done }).await
    }

    /// The entry of this log id and those before it may go.
    pub(crate) async fn purge(&self, log_id: StoredLogId) -> Result<(), StorageError> {
        {
            let mut contents = self.contents.lock();
            // The index may be what a peer says of its snapshot.
            let end = log_id.index.saturating_add(1);
            contents.tail.purge(end);
            contents.first = contents.first.max(end);
        }
        self.send(Write::Purge(log_id)).await
    }

    /// Records of some entries from `start` on: at least one of `start..end`, or none if they have
    /// been truncated or purged meanwhile.
    pub(crate) async fn read(&self, start: u64, end: u64) -> Result<Vec<Bytes>, StorageError> {
        let tail_first = {
            let contents = self.contents.lock();
            if start >= contents.tail.first() {
                return Ok(contents.tail.read(start, end, MAX_READ_BYTES));
            }
            contents.tail.first()
        };
        let this = self.clone();
        let read = move || this.read_from_disk(start, end.min(tail_first));
        tokio::task::spawn_blocking(read).await.map_err(|_| StorageError::Closed)?
    }

    /// Records of entries that are durable. Blocks on the disk.
    fn read_from_disk(&self, start: u64, end: u64) -> Result<Vec<Bytes>, StorageError> {
        let segments = self.segments.get();
        let records = self.or_fault(segments.records(start, end, MAX_DISK_READ_BYTES))?;
        if records.is_empty() {
            self.check_gone(start)?;
        }
        Ok(records)
    }

    /// An entry without a record must have been purged or truncated meanwhile.
    fn check_gone(&self, index: u64) -> Result<(), StorageError> {
        let contents = self.contents.lock();
        if index < contents.first || index >= contents.tail.first() {
            return Ok(());
        }
        Err(self.disk.damaged(&self.dir, format!("log entry {index} is missing")).into())
    }
}

/// Permits that bundles of this size need.
fn kib_of(bundles: &[Bundle]) -> u32 {
    let bytes: usize = bundles.iter().map(Bundle::bytes).sum();
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(MAX_UNSYNCED_KIB).clamp(1, MAX_UNSYNCED_KIB)
}
