//! The thread that owns the log's database.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::RaftTypeConfig;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::command::{Command, Read};
use super::contents::SharedContents;
use super::group::Group;
use super::key;
use crate::disk::GuardedDisk;
use crate::engine::{Durability, Engine, ScanLimit};
use crate::error::StorageError;
use crate::observer::Db;

/// Records of purged entries removed with one group, so that a purge of any size never holds up an append for long.
const PURGED_PER_GROUP: ScanLimit = ScanLimit { pairs: 2048, bytes: 1 << 20 };
/// Reads that are put aside; further ones wait in the queue, and what is behind them too.
const MAX_WAITING_READS: usize = 64;
/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// Invariants: no append is called done before a sync that began after its records were written; a read sees every
/// write that was asked for before it; the records of `purge_next..purge_end` belong to purged entries.
///
/// Purged records go many at a time, and not with every purge: a deletion in a write buffer makes its table overlap those of
/// all entries between, so that LevelDB writes them anew. Of 5 bytes written per byte appended, that was 2.
pub(super) struct Owner<C: RaftTypeConfig> {
    engine: Box<dyn Engine>,
    contents: Arc<SharedContents<C>>,
    disk: GuardedDisk,
    dir: std::path::PathBuf,
    purge_next: u64,
    purge_end: u64,
    is_removing: bool,
    purge_lag_bytes: u64,
    /// Of one record, lately.
    record_bytes: u64,
    reads: VecDeque<Read>,
}

impl<C: RaftTypeConfig> Owner<C> {
    /// Entries before `purged_end` are purged, but may still have records.
    pub(super) fn new(
        engine: Box<dyn Engine>,
        contents: Arc<SharedContents<C>>,
        disk: GuardedDisk,
        dir: std::path::PathBuf,
        purged_end: u64,
        purge_lag_bytes: u64,
    ) -> Self {
        Self {
            engine,
            contents,
            disk,
            dir,
            purge_next: 0,
            purge_end: purged_end,
            // What an earlier process has left is not known.
            is_removing: purged_end > 0,
            purge_lag_bytes,
            record_bytes: 1,
            reads: VecDeque::new(),
        }
    }

    /// Serves until every sender is gone.
    pub(super) fn run(mut self, mut queue: Receiver<Command<C>>) {
        loop {
            let has_work = !self.reads.is_empty() || self.is_removing;
            let first = match queue.try_recv() {
                Ok(command) => Some(command),
                Err(TryRecvError::Empty) if has_work => None,
                Err(TryRecvError::Empty) => queue.blocking_recv(),
                Err(TryRecvError::Disconnected) => None,
            };
            if first.is_none() && queue.is_closed() && queue.is_empty() {
                return;
            }
            self.round(first, &mut queue);
        }
    }

    /// Commits every write that waits as one group, then serves one read: a peer that catches up from the disk makes
    /// an append or a vote wait for one read at most.
    fn round(&mut self, first: Option<Command<C>>, queue: &mut Receiver<Command<C>>) {
        let mut group = Group::new();
        let mut next = first;
        while let Some(command) = next {
            match command {
                Command::Write(write) => group.add(write),
                Command::Read(read) => self.reads.push_back(read),
            }
            let is_full = group.is_full() || self.reads.len() >= MAX_WAITING_READS;
            next = if is_full { None } else { queue.try_recv().ok() };
        }
        self.commit(group);
        if let Some(read) = self.reads.pop_front() {
            self.read(read);
        }
    }

    fn commit(&mut self, mut group: Group<C>) {
        self.purge_end = self.purge_end.max(group.purge_end().unwrap_or(0));
        let purged = self.next_purged();
        self.record_bytes = group.record_bytes().unwrap_or(self.record_bytes);
        // Entries appended and purged in one group have no records yet.
        let scanned_end = group.first_appended().map_or(self.purge_end, |first| first.min(self.purge_end));
        if self.is_removing {
            self.purge_next = purged.last().map_or(scanned_end, |last| last.saturating_add(1));
            self.is_removing = !purged.is_empty();
        }
        purged.into_iter().for_each(|index| group.drop_purged(index));

        let (batch, durability, entries, waiters) = group.into_parts();
        if batch.is_empty() && durability == Durability::Ordered {
            return;
        }
        let started = Instant::now();
        let result = self.engine.write(batch, durability);
        self.observe(entries, started.elapsed());
        if let (Ok(()), Some(end)) = (&result, waiters.durable_end()) {
            self.contents.lock().tail.mark_durable(end);
        }
        waiters.tell(&result);
    }

    /// Some purged entries that still have records. A fault has been latched; the next write answers it.
    fn next_purged(&mut self) -> Vec<u64> {
        let lag_bytes = self.purge_end.saturating_sub(self.purge_next).saturating_mul(self.record_bytes);
        self.is_removing = self.is_removing || lag_bytes > self.purge_lag_bytes;
        if !self.is_removing {
            return Vec::new();
        }
        let found = self.engine.scan(&key::entries(self.purge_next, self.purge_end), PURGED_PER_GROUP);
        found.unwrap_or_default().iter().filter_map(|(key, _)| key::index_of(key)).collect()
    }

    fn observe(&self, entries: u64, took: Duration) {
        let observer = self.disk.observer();
        if entries > 0 {
            observer.appended(entries);
        }
        if took >= STALL {
            observer.stalled(Db::Log, "write", took);
        }
    }

    fn read(&mut self, read: Read) {
        let result = self.read_records(read.start, read.end, read.limit_bytes);
        // Whoever asked may have gone away.
        drop(read.done.send(result));
    }

    /// Some records from `start` on; fewer than one if the entries have been truncated or purged since they were asked for.
    fn read_records(&mut self, start: u64, end: u64, limit_bytes: usize) -> Result<Vec<Bytes>, StorageError> {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        for index in start..end {
            let Some(record) = self.engine.get(&key::entry(index))? else {
                self.check_gone(index)?;
                break;
            };
            bytes = bytes.saturating_add(record.len());
            if !records.is_empty() && bytes > limit_bytes {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// An entry without a record must not be part of the log any more, or be in the tail still.
    fn check_gone(&self, index: u64) -> Result<(), StorageError> {
        let contents = self.contents.lock();
        if index < contents.first || index >= contents.tail.first() {
            return Ok(());
        }
        Err(self.disk.damaged(&self.dir, format!("log entry {index} is missing")).into())
    }
}
