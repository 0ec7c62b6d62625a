//! A group commit: everything that waited, as one batch and at most one sync.

use openraft::RaftTypeConfig;
use openraft::storage::IOFlushed;
use openraft::type_config::alias::LogIdOf;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::bundle::{self, Bundle};
use super::command::Write;
use super::key::{self, Mark};
use super::marks::{Marks, start_record};
use crate::engine::{Batch, Durability};
use crate::error::StorageError;

/// A group ends when it has gathered this much.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A group ends when it has gathered this many requests.
const MAX_GROUP_REQUESTS: usize = 4096;

/// A caller that waits for the commit.
enum Waiting<C: RaftTypeConfig> {
    Append { end: u64, room: OwnedSemaphorePermit, done: IOFlushed<C> },
    Reply(oneshot::Sender<Result<(), StorageError>>),
}

/// Invariants: the batch, and behind it the bundle, have the changes in the order in which they
/// were asked for; after it no older segment has an entry from `start` on that counts.
pub(super) struct Group<C: RaftTypeConfig> {
    batch: Batch,
    bundle: Option<Bundle>,
    durability: Durability,
    entries: u64,
    requests: usize,
    waiting: Vec<Waiting<C>>,
    start: u64,
    purged: Option<LogIdOf<C>>,
    /// There is more in it than appends, votes and committed marks. The owner must hear of that,
    /// and of all before it, before the caller does: else entries appended behind a truncation
    /// would count as durable because those that they replace were.
    moves_ends: bool,
}

impl<C: RaftTypeConfig> Group<C> {
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
            moves_ends: false,
        }
    }

    /// For a new segment, which takes over where the log ends and knows all marks from its first
    /// write on.
    pub(super) fn begin(marks: &Marks) -> Self {
        let mut this = Self::new(marks.end);
        marks.begin(&mut this.batch);
        this.durability = Durability::Synced;
        this.moves_ends = true;
        this
    }

    pub(super) fn is_full(&self) -> bool {
        let bundled = self.bundle.as_ref().map_or(0, Bundle::bytes);
        self.batch.bytes().saturating_add(bundled) >= MAX_GROUP_BYTES || self.requests >= MAX_GROUP_REQUESTS
    }

    pub(super) fn add(&mut self, write: Write<C>) {
        self.requests += 1;
        match write {
            Write::Append { bundles, room, done } => self.append(bundles, room, done),
            Write::Vote { record, done } => {
                self.batch.put(Mark::Vote.key(), record);
                self.reply_when_synced(done);
            }
            Write::Truncate { from, end, done } => {
                self.truncate(from, end);
                self.moves_ends = true;
                self.reply_when_synced(done);
            }
            Write::Purge { log_id, record } => {
                self.batch.put(Mark::Purged.key(), record);
                self.purged = Some(log_id);
                self.moves_ends = true;
            }
            Write::Committed { record } => self.batch.put(Mark::Committed.key(), record),
        }
    }

    fn append(&mut self, bundles: Vec<Bundle>, room: OwnedSemaphorePermit, done: IOFlushed<C>) {
        let end = bundles.last().map_or(0, Bundle::end);
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
        self.waiting.push(Waiting::Append { end, room, done });
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

    fn reply_when_synced(&mut self, done: oneshot::Sender<Result<(), StorageError>>) {
        self.durability = Durability::Synced;
        self.waiting.push(Waiting::Reply(done));
    }

    /// Where the segment starts once the batch is written.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Whether it begins a segment, or changes where the log begins or ends other than by
    /// appending.
    pub(super) fn moves_ends(&self) -> bool {
        self.moves_ends
    }

    /// Up to where a purge in this group reaches.
    pub(super) fn purged(&self) -> Option<LogIdOf<C>> {
        self.purged.clone()
    }

    /// The batch, how durable it must be, how many entries are in it, and who waits for it.
    pub(super) fn into_parts(mut self) -> (Batch, Durability, u64, Waiters<C>) {
        self.end_bundle();
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

    /// Tells every caller how it went.
    pub(super) fn tell(self, result: &Result<(), StorageError>) {
        for waiting in self.0 {
            match waiting {
                Waiting::Append { room, done, .. } => {
                    drop(room);
                    done.io_completed(result.clone().map_err(Into::into));
                }
                // The caller may have gone away.
                Waiting::Reply(done) => drop(done.send(result.clone())),
            }
        }
    }
}
