//! A group commit: everything that waited, as one batch and at most one sync.

use tokio::sync::OwnedSemaphorePermit;

use super::entry_block::{self, EntryBlock};
use super::hard_state::{HardState, start_record};
use super::key::{self, MetaKey};
use super::manifest::PurgePoint;
use super::request::{Done, Request};
use crate::engine::{Batch, Durability};
use crate::error::StorageError;

/// A group ends when it has gathered this much.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A group ends when it has gathered this many requests.
const MAX_GROUP_REQUESTS: usize = 4096;

/// Invariants: the batch, and behind it the block, have the changes in the order in which they were
/// asked for; after it no older segment has an entry from `start` on that counts.
pub(super) struct Group {
    batch: Batch,
    block: Option<EntryBlock>,
    durability: Durability,
    entries: u64,
    requests: usize,
    waiters: Waiters,
    start: u64,
    purged: Option<PurgePoint>,
}

impl Group {
    /// For the segment that starts at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self {
            batch: Batch::default(),
            block: None,
            durability: Durability::Ordered,
            entries: 0,
            requests: 0,
            waiters: Waiters::default(),
            start,
            purged: None,
        }
    }

    /// For a new segment, which takes over where the log ends and knows the hard state from its
    /// first write on.
    pub(super) fn begin(hard_state: &HardState) -> Self {
        let mut this = Self::new(hard_state.end);
        hard_state.begin(&mut this.batch);
        this.durability = Durability::Synced;
        this
    }

    pub(super) fn is_full(&self) -> bool {
        let in_block = self.block.as_ref().map_or(0, EntryBlock::bytes);
        self.batch.bytes() + in_block >= MAX_GROUP_BYTES || self.requests >= MAX_GROUP_REQUESTS
    }

    pub(super) fn add(&mut self, request: Request) {
        self.requests += 1;
        match request {
            Request::Append { blocks, room, done } => {
                self.append(blocks, room);
                self.call_when_synced(done);
            }
            Request::Vote { record, done } => {
                self.batch.put(MetaKey::Vote.key(), record);
                self.call_when_synced(done);
            }
            Request::Truncate { from, end, done } => {
                self.truncate(from, end);
                self.call_when_synced(done);
            }
            Request::Purge { point, record } => {
                self.batch.put(MetaKey::Purged.key(), record);
                self.purged = Some(point);
            }
            Request::Committed { record } => self.batch.put(MetaKey::Committed.key(), record),
        }
    }

    fn append(&mut self, blocks: Vec<EntryBlock>, room: OwnedSemaphorePermit) {
        self.waiters.appended(blocks.last().map_or(0, EntryBlock::end), room);
        for block in blocks {
            self.entries += block.count();
            let next = match &mut self.block {
                Some(before) => before.join(block),
                None => Some(block),
            };
            if next.is_some() {
                self.end_block();
                self.block = next;
            }
        }
    }

    fn end_block(&mut self) {
        if let Some((key, value)) = self.block.take().map(EntryBlock::into_pair) {
            self.batch.put(key, value);
        }
    }

    /// What is in this segment is removed but for the block that has the last entry which stays,
    /// and what is in older segments does not count any more.
    fn truncate(&mut self, from: u64, end: u64) {
        debug_assert!(from < end, "a truncation takes entries away");
        self.end_block();
        // An earlier truncation may have left an empty block at the end.
        (from.max(self.start)..=end).for_each(|index| self.batch.delete(key::entry(index)));
        let (key, value) = entry_block::end_of_log(from);
        self.batch.put(key, value);
        if from < self.start {
            self.start = from;
            self.batch.put(MetaKey::Start.key(), start_record(from));
        }
    }

    fn call_when_synced(&mut self, done: Done) {
        self.durability = Durability::Synced;
        self.waiters.callbacks.push(done);
    }

    /// Where the segment starts once the batch is written.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Up to where a purge in this group reaches.
    pub(super) fn purged(&self) -> Option<PurgePoint> {
        self.purged.clone()
    }

    /// The batch, how durable it must be, how many entries are in it, and who waits for it.
    pub(super) fn into_parts(mut self) -> (Batch, Durability, u64, Waiters) {
        self.end_block();
        (self.batch, self.durability, self.entries, self.waiters)
    }
}

/// The callers that wait for a commit. Dropped before they are told, it drops their callbacks.
#[derive(Default)]
pub(super) struct Waiters {
    callbacks: Vec<Done>,
    room: Option<OwnedSemaphorePermit>,
    durable_end: Option<u64>,
}

impl Waiters {
    /// One of them appends entries that end there.
    fn appended(&mut self, end: u64, room: OwnedSemaphorePermit) {
        self.durable_end = self.durable_end.max(Some(end));
        match &mut self.room {
            Some(all) => all.merge(room),
            None => self.room = Some(room),
        }
    }

    /// Where the log ends for those that wait, if any appended.
    pub(super) fn durable_end(&self) -> Option<u64> {
        self.durable_end
    }

    /// Tells every caller how it went.
    pub(super) fn tell(self, result: &Result<(), StorageError>) {
        drop(self.room);
        self.callbacks.into_iter().for_each(|done| done(result.clone()));
    }
}
