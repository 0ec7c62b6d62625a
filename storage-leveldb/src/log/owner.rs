//! The thread that owns the log's database.

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

/// Records of purged entries removed with one group, so that a purge of any size never holds up an append.
const PURGED_PER_GROUP: ScanLimit = ScanLimit { pairs: 512, bytes: 4 << 20 };
/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// Invariants: no append is called done before a sync that began after its records were written; the
/// records of `purge_next..purge_end` belong to purged entries and go little by little.
pub(super) struct Owner<C: RaftTypeConfig> {
    engine: Box<dyn Engine>,
    contents: Arc<SharedContents<C>>,
    disk: GuardedDisk,
    dir: std::path::PathBuf,
    purge_next: u64,
    purge_end: u64,
}

impl<C: RaftTypeConfig> Owner<C> {
    /// Entries before `purged_end` are purged, but may still have records.
    pub(super) fn new(
        engine: Box<dyn Engine>,
        contents: Arc<SharedContents<C>>,
        disk: GuardedDisk,
        dir: std::path::PathBuf,
        purged_end: u64,
    ) -> Self {
        Self { engine, contents, disk, dir, purge_next: 0, purge_end: purged_end }
    }

    /// Serves until every sender is gone.
    pub(super) fn run(mut self, mut queue: Receiver<Command<C>>) {
        loop {
            match queue.try_recv() {
                Ok(command) => self.serve(command, &mut queue),
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) if self.purge_next < self.purge_end => self.commit(Group::new()),
                Err(TryRecvError::Empty) => match queue.blocking_recv() {
                    Some(command) => self.serve(command, &mut queue),
                    None => return,
                },
            }
        }
    }

    /// Takes everything that waits, and commits it as one group.
    fn serve(&mut self, first: Command<C>, queue: &mut Receiver<Command<C>>) {
        let mut group = Group::new();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(write) => group.add(write),
                Command::Read(read) => self.read(read),
            }
            next = if group.is_full() { None } else { queue.try_recv().ok() };
        }
        self.commit(group);
    }

    fn commit(&mut self, mut group: Group<C>) {
        self.purge_end = self.purge_end.max(group.purge_end().unwrap_or(0));
        let purged = self.next_purged();
        self.purge_next = purged.last().map_or(self.purge_end, |last| last.saturating_add(1));
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
        if self.purge_next >= self.purge_end {
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

    fn read_records(&mut self, start: u64, end: u64, limit_bytes: usize) -> Result<Vec<Bytes>, StorageError> {
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        for index in start..end {
            let record = self.engine.get(&key::entry(index))?;
            let record = record.ok_or_else(|| {
                StorageError::from(self.disk.damaged(&self.dir, format!("log entry {index} is missing")))
            })?;
            bytes = bytes.saturating_add(record.len());
            if !records.is_empty() && bytes > limit_bytes {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }
}
