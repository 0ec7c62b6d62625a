//! The handles to the log: opening it, and what openraft holds of it.

use std::path::Path;
use std::sync::Arc;

use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::LogIdOf;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc};

use super::command::Command;
use super::contents::{Contents, SharedContents};
use super::key::{self, Mark};
use super::owner::Owner;
use super::tail::Tail;
use crate::disk::GuardedDisk;
use crate::engine::{Batch, Durability, Engine, EngineFactory, KeyRange, ScanLimit};
use crate::error::StorageError;
use crate::options::Options;
use crate::owner_thread::{OwnerThread, latching};

/// Version of the records in the log's database.
const FORMAT: u8 = 1;
/// Requests that wait for the owner thread; more wait for room.
const QUEUE_REQUESTS: usize = 4096;
/// Entries that are not yet durable, in KiB of records; an append that would exceed it waits.
pub(super) const MAX_UNSYNCED_KIB: u32 = 64 * 1024;

/// The Raft log: openraft's [`RaftLogStorage`](openraft::storage::RaftLogStorage).
///
/// Appending returns when the entries can be read, and calls back when they are on disk. The thread
/// behind it ends when the store and all its readers are dropped.
pub struct LogStore<C: RaftTypeConfig> {
    pub(super) reader: LogReader<C>,
    pub(super) room: Arc<Semaphore>,
}

/// Reads the log: openraft's [`RaftLogReader`](openraft::RaftLogReader).
pub struct LogReader<C: RaftTypeConfig> {
    pub(super) contents: Arc<SharedContents<C>>,
    pub(super) queue: Arc<OwnerThread<Command<C>>>,
    pub(super) disk: GuardedDisk,
    pub(super) dir: Arc<Path>,
}

impl<C: RaftTypeConfig> Clone for LogReader<C> {
    fn clone(&self) -> Self {
        Self {
            contents: self.contents.clone(),
            queue: self.queue.clone(),
            disk: self.disk.clone(),
            dir: self.dir.clone(),
        }
    }
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// Opens the log in `dir` and starts its thread. Blocks on the disk.
    pub(crate) fn open(
        dir: &Path,
        factory: Arc<dyn EngineFactory>,
        disk: GuardedDisk,
        options: &Options,
    ) -> Result<Self, StorageError> {
        let (tail_bytes, purge_lag_bytes) = (options.tail_bytes, options.purge_lag_bytes);
        let (its_disk, its_dir) = (disk.clone(), dir.to_owned());
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        // The engine never leaves the thread that opens it.
        let (thread, contents) = OwnerThread::start("raft-log", sender, move || {
            let mut engine = factory.open(&its_dir)?;
            let contents = load::<C>(engine.as_mut(), &its_disk, &its_dir, tail_bytes)?;
            // A crash may have kept records of purged entries from being removed.
            let purged_end = contents.purged.as_ref().map_or(0, |id| id.index.saturating_add(1));
            let contents = Arc::new(SharedContents::new(contents));
            let (disk, dir) = (its_disk.clone(), its_dir.clone());
            let owner = Owner::new(engine, contents.clone(), disk, dir, purged_end, purge_lag_bytes);
            Ok((contents, move || latching(&its_disk, &its_dir, || owner.run(receiver))))
        })?;
        let reader = LogReader { contents, queue: Arc::new(thread), disk, dir: dir.into() };
        Ok(Self { reader, room: Arc::new(Semaphore::new(MAX_UNSYNCED_KIB as usize)) })
    }
}

/// From where to where a log goes.
pub(crate) struct LogPosition<C: RaftTypeConfig> {
    pub(crate) purged: Option<LogIdOf<C>>,
    /// No vote has been given and there has never been an entry.
    pub(crate) is_empty: bool,
}

impl<C: RaftTypeConfig> LogStore<C> {
    pub(crate) fn position(&self) -> LogPosition<C> {
        let contents = self.reader.contents.lock();
        let is_empty = contents.vote.is_none() && contents.last.is_none();
        LogPosition { purged: contents.purged.clone(), is_empty }
    }
}

/// Reads the marks and finds the end of the log.
fn load<C: RaftTypeConfig>(
    engine: &mut dyn Engine,
    disk: &GuardedDisk,
    dir: &Path,
    tail_bytes: usize,
) -> Result<Contents<C>, StorageError> {
    check_format(engine, disk, dir)?;
    let vote = mark(engine, disk, dir, Mark::Vote)?;
    let committed = mark(engine, disk, dir, Mark::Committed)?;
    let purged: Option<LogIdOf<C>> = mark(engine, disk, dir, Mark::Purged)?;
    let start = match &purged {
        Some(log_id) => log_id.index.saturating_add(1),
        None => first_record(engine)?.unwrap_or(0),
    };
    let end = end_of_entries(engine, start)?;
    let last = match end.checked_sub(1).filter(|_| end > start) {
        Some(index) => {
            let record = engine.get(&key::entry(index))?.unwrap_or_default();
            let entry: C::Entry =
                codec::decode(&record).map_err(|e| disk.damaged(dir, format!("log entry {index}: {e}")))?;
            if entry.index() != index {
                return Err(disk
                    .damaged(dir, format!("log entry {index} says it is entry {}", entry.index()))
                    .into());
            }
            Some(entry.log_id())
        }
        None => purged.clone(),
    };
    Ok(Contents { vote, committed, purged, last, first: start, tail: Tail::new(end, tail_bytes) })
}

fn check_format(engine: &mut dyn Engine, disk: &GuardedDisk, dir: &Path) -> Result<(), StorageError> {
    match engine.get(&Mark::Format.key())?.as_deref() {
        Some([FORMAT]) => Ok(()),
        Some(other) => {
            let reason = format!("log format {other:?}; this version reads format {FORMAT} only");
            Err(disk.damaged(dir, reason).into())
        }
        None if !engine.scan(&KeyRange::all(), ScanLimit { pairs: 1, bytes: usize::MAX })?.is_empty() => {
            Err(disk.damaged(dir, "the log has records and no format version").into())
        }
        None => {
            let mut batch = Batch::default();
            batch.put(Mark::Format.key(), vec![FORMAT].into());
            engine.write(batch, Durability::Synced)
        }
    }
}

fn mark<T: DeserializeOwned>(
    engine: &mut dyn Engine,
    disk: &GuardedDisk,
    dir: &Path,
    mark: Mark,
) -> Result<Option<T>, StorageError> {
    let Some(record) = engine.get(&mark.key())? else {
        return Ok(None);
    };
    let value = codec::decode(&record).map_err(|e| disk.damaged(dir, format!("{mark:?} mark: {e}")))?;
    Ok(Some(value))
}

/// The first index that has a record.
fn first_record(engine: &mut dyn Engine) -> Result<Option<u64>, StorageError> {
    let found = engine.scan(&key::entries(0, u64::MAX), ScanLimit { pairs: 1, bytes: usize::MAX })?;
    Ok(found.first().and_then(|(key, _)| key::index_of(key)))
}

/// The index behind the last entry of a log without holes: doubling steps, then halving ones.
fn end_of_entries(engine: &mut dyn Engine, start: u64) -> Result<u64, StorageError> {
    let mut has = |index: u64| Ok::<_, StorageError>(engine.get(&key::entry(index))?.is_some());
    let mut step = 1_u64;
    let mut present = start;
    while has(present.saturating_add(step).saturating_sub(1))? {
        present = present.saturating_add(step);
        step = step.saturating_mul(2);
    }
    // Every index before `present` has a record, and `present + step - 1` has none.
    let mut absent = present.saturating_add(step).saturating_sub(1);
    while present < absent {
        let middle = present.saturating_add(absent.saturating_sub(present) / 2);
        if has(middle)? { present = middle.saturating_add(1) } else { absent = middle }
    }
    Ok(present)
}
