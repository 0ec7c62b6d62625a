//! A group commit: everything that waited, as one batch and at most one sync.

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::command::Write;
use super::key::{self, Mark};
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

/// Invariant: the batch has the changes in the order in which they were asked for.
pub(super) struct Group<C: RaftTypeConfig> {
    batch: Batch,
    durability: Durability,
    entries: u64,
    record_bytes: u64,
    requests: usize,
    waiting: Vec<Waiting<C>>,
    purge_end: Option<u64>,
    first_appended: Option<u64>,
}

impl<C: RaftTypeConfig> Group<C> {
    pub(super) fn new() -> Self {
        let durability = Durability::Ordered;
        Self {
            batch: Batch::default(),
            durability,
            entries: 0,
            record_bytes: 0,
            requests: 0,
            waiting: Vec::new(),
            purge_end: None,
            first_appended: None,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.bytes() >= MAX_GROUP_BYTES || self.requests >= MAX_GROUP_REQUESTS
    }

    pub(super) fn add(&mut self, write: Write<C>) {
        self.requests = self.requests.saturating_add(1);
        match write {
            Write::Append { first, records, room, done } => self.append(first, records, room, done),
            Write::Vote { record, done } => {
                self.batch.put(Mark::Vote.key(), record.into());
                self.reply_when_synced(done);
            }
            Write::Truncate { from, end, done } => {
                (from..end).for_each(|index| self.batch.delete(key::entry(index)));
                self.reply_when_synced(done);
            }
            Write::Purge { record, end } => {
                self.batch.put(Mark::Purged.key(), record.into());
                self.purge_end = Some(end);
            }
            Write::Committed { record } => self.batch.put(Mark::Committed.key(), record.into()),
        }
    }

    fn append(&mut self, first: u64, records: Vec<Bytes>, room: OwnedSemaphorePermit, done: IOFlushed<C>) {
        let count = records.len() as u64;
        self.first_appended = Some(self.first_appended.map_or(first, |earlier| earlier.min(first)));
        for (index, record) in (first..).zip(records) {
            self.record_bytes = self.record_bytes.saturating_add(record.len() as u64);
            self.batch.put(key::entry(index), record);
        }
        self.entries = self.entries.saturating_add(count);
        self.durability = Durability::Synced;
        self.waiting.push(Waiting::Append { end: first.saturating_add(count), room, done });
    }

    fn reply_when_synced(&mut self, done: oneshot::Sender<Result<(), StorageError>>) {
        self.durability = Durability::Synced;
        self.waiting.push(Waiting::Reply(done));
    }

    /// Removes the record of an entry that has been purged.
    pub(super) fn drop_purged(&mut self, index: u64) {
        self.batch.delete(key::entry(index));
    }

    /// Bytes of a record in this group on average, if there are any.
    pub(super) fn record_bytes(&self) -> Option<u64> {
        self.record_bytes.checked_div(self.entries)
    }

    /// How far a purge in this group reaches.
    pub(super) fn purge_end(&self) -> Option<u64> {
        self.purge_end
    }

    /// The least index of an entry in this group.
    pub(super) fn first_appended(&self) -> Option<u64> {
        self.first_appended
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
