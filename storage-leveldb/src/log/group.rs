//! A group commit: everything that waited, as one batch and at most one sync.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::bundle::{self, Bundle};
use super::key::{self, Mark};
use super::marks::{Marks, start_record};
use super::request::{Done, StoredLogId, Write};
use crate::engine::{Batch, Durability};
use crate::error::StorageError;

/// A group ends when it has gathered this much.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A group ends when it has gathered this many requests.
const MAX_GROUP_REQUESTS: usize = 4096;
/// What a pair costs in the memory of a segment's database beside its key and value: a node of
/// LevelDB's skip list, three allocations, their headers.
const PAIR_OVERHEAD_BYTES: usize = 160;

/// A write that waits for the commit, and the room that it takes among the entries that are not durable.
struct Waiting {
    done: Done,
    _room: Option<OwnedSemaphorePermit>,
}

/// Invariants: the batch, and behind it the bundle, have the changes in the order in which they
/// were asked for; after it no older segment has an entry from `start` on that counts.
pub(super) struct Group {
    batch: Batch,
    bundle: Option<Bundle>,
    durability: Durability,
    entries: u64,
    requests: usize,
    waiting: Vec<Waiting>,
    start: u64,
    purged: Option<StoredLogId>,
}

/// A group, ready to be written.
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    /// How many entries are in it.
    pub(super) entries: u64,
    /// Where the segment starts once it is written.
    pub(super) start: u64,
    /// Up to where a purge in it reaches.
    pub(super) purged: Option<StoredLogId>,
    /// What it takes in the memory of the segment's database.
    pub(super) memory_bytes: u64,
    pub(super) waiters: Waiters,
}

impl Group {
    /// For the segment that starts at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self {
            batch: Batch::default(),
            bundle: None,
            durability: Durability::Ordered,
            entries: 0,
            requests: 0,
            waiting: Vec::new(),
            start,
            purged: None,
        }
    }

    /// For a new segment, which takes over where the log ends and knows all marks from its first
    /// write on.
    pub(super) fn begin(marks: &Marks) -> Self {
        let mut this = Self::new(marks.end);
        marks.begin(&mut this.batch);
        this.durability = Durability::Synced;
        this
    }

    pub(super) fn is_full(&self) -> bool {
        let bundled = self.bundle.as_ref().map_or(0, Bundle::bytes);
        self.batch.bytes() + bundled >= MAX_GROUP_BYTES || self.requests >= MAX_GROUP_REQUESTS
    }

    pub(super) fn add(&mut self, write: Write) {
        self.requests += 1;
        match write {
            Write::Append { bundles, room, done } => self.append(bundles, room, done),
            Write::Vote { record, done } => {
                self.batch.put(Mark::Vote.key(), record);
                self.reply_when_synced(done);
            }
            Write::Truncate { from, end, done } => {
                self.truncate(from, end);
                self.reply_when_synced(done);
            }
            Write::Purge(log_id) => {
                self.batch.put(Mark::Purged.key(), log_id.record.clone());
                self.purged = Some(log_id);
            }
        }
    }

    fn append(&mut self, bundles: Vec<Bundle>, room: OwnedSemaphorePermit, done: Done) {
        for bundle in bundles {
            self.entries += bundle.count();
            let next = match &mut self.bundle {
                Some(before) => before.join(bundle),
                None => Some(bundle),
            };
            if next.is_some() {
                self.end_bundle();
                self.bundle = next;
            }
        }
        self.durability = Durability::Synced;
        self.waiting.push(Waiting { done, _room: Some(room) });
    }

    fn end_bundle(&mut self) {
        if let Some((key, value)) = self.bundle.take().map(Bundle::into_pair) {
            self.batch.put(key, value);
        }
    }

    /// What is in this segment is removed but for the bundle that has the last entry which stays,
    /// and what is in older segments does not count any more.
    fn truncate(&mut self, from: u64, end: u64) {
        self.end_bundle();
        // An earlier truncation may have left its mark at the end.
        (from.max(self.start)..=end).for_each(|index| self.batch.delete(key::entry(index)));
        let (key, value) = bundle::end_of_log(from);
        self.batch.put(key, value);
        if from < self.start {
            self.start = from;
            self.batch.put(Mark::Start.key(), start_record(from));
        }
    }

    fn reply_when_synced(&mut self, done: Done) {
        self.durability = Durability::Synced;
        self.waiting.push(Waiting { done, _room: None });
    }

    /// The log is committed up to an entry that is in this group or was written before it.
    pub(super) fn committed(&mut self, record: Bytes) {
        self.batch.put(Mark::Committed.key(), record);
    }

    pub(super) fn gathered(mut self) -> Gathered {
        self.end_bundle();
        let Self { batch, durability, entries, start, purged, waiting, .. } = self;
        let memory_bytes = (batch.ops().len() * PAIR_OVERHEAD_BYTES + batch.bytes()) as u64;
        debug_assert!(
            waiting.is_empty() || durability == Durability::Synced,
            "a write that is waited for is synced"
        );
        let waiters = Waiters(waiting);
        Gathered { batch, durability, entries, start, purged, memory_bytes, waiters }
    }
}

/// The writes that wait for a commit.
pub(super) struct Waiters(Vec<Waiting>);

impl Waiters {
    /// Calls each of them back with the result.
    pub(super) fn tell(self, result: &Result<(), StorageError>) {
        for Waiting { done, _room: room } in self.0 {
            drop(room);
            done(result.clone());
        }
    }
}
