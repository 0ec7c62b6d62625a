//! A group commit: everything that waited, as one batch and at most one sync.

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::storage::IOFlushed;
use openraft::type_config::alias::LogIdOf;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::command::Write;
use super::key::{self, Mark};
use super::marks::{Marks, start_record};
use crate::engine::{Batch, Durability};
use crate::error::StorageError;

/// A group ends when it has gathered this much.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A group ends when it has gathered this many requests.
const MAX_GROUP_REQUESTS: usize = 4096;

/// Somebody who waits for the commit.
enum Waiting<C: RaftTypeConfig> {
    Append { end: u64, room: OwnedSemaphorePermit, done: IOFlushed<C> },
    Reply(oneshot::Sender<Result<(), StorageError>>),
}

/// Invariants: the batch has the changes in the order in which they were asked for; after it no older segment has an
/// entry from `start` on that counts.
pub(super) struct Group<C: RaftTypeConfig> {
    batch: Batch,
    durability: Durability,
    entries: u64,
    requests: usize,
    waiting: Vec<Waiting<C>>,
    start: u64,
    purged: Option<LogIdOf<C>>,
}

impl<C: RaftTypeConfig> Group<C> {
    /// For the segment that starts at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self {
            batch: Batch::default(),
            durability: Durability::Ordered,
            entries: 0,
            requests: 0,
            waiting: Vec::new(),
            start,
            purged: None,
        }
    }

    /// For a new segment, which takes over where the log ends and knows all marks from its first write on.
    pub(super) fn begin(marks: &Marks) -> Self {
        let mut this = Self::new(marks.end);
        marks.begin(&mut this.batch);
        this.durability = Durability::Synced;
        this
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.bytes() >= MAX_GROUP_BYTES || self.requests >= MAX_GROUP_REQUESTS
    }

    pub(super) fn add(&mut self, write: Write<C>) {
        self.requests = self.requests.saturating_add(1);
        match write {
            Write::Append { first, records, room, done } => self.append(first, records, room, done),
            Write::Vote { record, done } => {
                self.batch.put(Mark::Vote.key(), record);
                self.reply_when_synced(done);
            }
            Write::Truncate { from, end, done } => {
                self.truncate(from, end);
                self.reply_when_synced(done);
            }
            Write::Purge { log_id, record } => {
                self.batch.put(Mark::Purged.key(), record);
                self.purged = Some(log_id);
            }
            Write::Committed { record } => self.batch.put(Mark::Committed.key(), record),
        }
    }

    fn append(&mut self, first: u64, records: Vec<Bytes>, room: OwnedSemaphorePermit, done: IOFlushed<C>) {
        let count = records.len() as u64;
        for (index, record) in (first..).zip(records) {
            self.batch.put(key::entry(index), record);
        }
        self.entries = self.entries.saturating_add(count);
        self.durability = Durability::Synced;
        self.waiting.push(Waiting::Append { end: first.saturating_add(count), room, done });
    }

    /// What is in this segment is removed, and what is in older ones does not count any more.
    fn truncate(&mut self, from: u64, end: u64) {
        (from.max(self.start)..end).for_each(|index| self.batch.delete(key::entry(index)));
        if from < self.start {
            self.start = from;
            self.batch.put(Mark::Start.key(), start_record(from));
        }
    }

    fn reply_when_synced(&mut self, done: oneshot::Sender<Result<(), StorageError>>) {
        self.durability = Durability::Synced;
        self.waiting.push(Waiting::Reply(done));
    }

    /// Nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.durability == Durability::Ordered
    }

    /// Where the segment starts once the batch is written.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Up to where a purge in this group reaches.
    pub(super) fn purged(&self) -> Option<LogIdOf<C>> {
        self.purged.clone()
    }

    /// The batch, how durable it must be, how many entries are in it, and who waits for it.
    pub(super) fn into_parts(self) -> (Batch, Durability, u64, Waiters<C>) {
        (self.batch, self.durability, self.entries, Waiters(self.waiting))
    }
}

/// Those who wait for a commit.
pub(super) struct Waiters<C: RaftTypeConfig>(Vec<Waiting<C>>);

impl<C: RaftTypeConfig> Waiters<C> {
    /// Where the log ends for those who wait, if any appended.
    pub(super) fn durable_end(&self) -> Option<u64> {
        let ends = self.0.iter().map(|waiting| match waiting {
            Waiting::Append { end, .. } => Some(*end),
            Waiting::Reply(_) => None,
        });
        ends.max().flatten()
    }

    /// Tells everybody how it went.
    pub(super) fn tell(self, result: &Result<(), StorageError>) {
        for waiting in self.0 {
            match waiting {
                Waiting::Append { room, done, .. } => {
                    drop(room);
                    done.io_completed(result.clone().map_err(Into::into));
                }
                // Whoever asked may have gone away.
                Waiting::Reply(done) => drop(done.send(result.clone())),
            }
        }
    }
}
