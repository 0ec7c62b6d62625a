//! The thread that writes the log: everything that waits, group after group, each with one sync.
//!
//! It owns the database of the segment that is written. Between two groups it serves one reader, if
//! there is one, so that neither waits for more than one of the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, WeakSender};

use super::caretaker::{CaretakerThread, Prepared};
use super::contents::SharedContents;
use super::group::{Gathered, Group};
use super::key::Mark;
use super::marks::Marks;
use super::request::{Read, Request, Write};
use super::segment::Segment;
use super::segments::SharedSegments;
use crate::disk::{GuardedDisk, time_syncing};
use crate::engine::{Batch, Durability, Engine, PreparedEngine, answered, latched};
use crate::error::StorageError;
use crate::observer::{Db, StallCause};

/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// The segment that is written.
///
/// Invariant: it is the newest of those that have been begun.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) engine: Box<dyn Engine>,
    /// What is in it takes about so much memory.
    pub(super) bytes: u64,
}

impl Active {
    /// Opens a segment on the thread that is to write it.
    pub(super) fn open(
        segment: Arc<Segment>,
        disk: &GuardedDisk,
        open: PreparedEngine,
    ) -> Result<Self, StorageError> {
        let engine = latched(disk, &segment.dir, answered(&segment.dir, open))?;
        Ok(Self { segment, engine, bytes: 0 })
    }
}

/// Invariants: nobody is told that a write is durable before a sync that began after it was
/// written; nothing is written after a fault; `marks` are those behind the last group.
pub(super) struct Writer {
    pub(super) queue: Receiver<Request>,
    /// Where readers of the active segment send their requests.
    pub(super) requests: WeakSender<Request>,
    pub(super) marks: Marks,
    pub(super) active: Active,
    pub(super) contents: Arc<SharedContents>,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) caretaker: CaretakerThread,
    pub(super) disk: GuardedDisk,
    pub(super) segment_bytes: u64,
    /// Readers that were met in the queue.
    pub(super) reads: VecDeque<Read>,
}

/// What a commit took, from when it could have begun.
struct Took {
    all: Duration,
    writing: Duration,
    /// Of this, the time that files took to be synced.
    syncing: Duration,
}

impl Writer {
    /// Serves until every handle is gone. After a fault, which is latched, every write is refused.
    pub(super) fn run(mut self) {
        let mut last = Instant::now();
        while let Some((write, at)) = self.next_write() {
            self.write_group(write, at.max(last));
            last = Instant::now();
        }
        self.close();
    }

    /// Serves readers until there is something to write. `None`: every handle is gone.
    fn next_write(&mut self) -> Option<(Write, Instant)> {
        loop {
            if let Some(read) = self.reads.pop_front() {
                self.answer(read);
            }
            if let Some(write) = self.waiting_write() {
                return Some(write);
            }
            if self.reads.is_empty() {
                match self.queue.blocking_recv()? {
                    Request::Write(write, at) => return Some((write, at)),
                    Request::Read(read) => self.reads.push_back(read),
                }
            }
        }
    }

    /// The next write in the queue. Readers before it wait until it is written.
    fn waiting_write(&mut self) -> Option<(Write, Instant)> {
        loop {
            match self.queue.try_recv().ok()? {
                Request::Write(write, at) => return Some((write, at)),
                Request::Read(read) => self.reads.push_back(read),
            }
        }
    }

    fn answer(&mut self, read: Read) {
        let Active { segment, engine, .. } = &mut self.active;
        let scanned = (segment.number == read.number).then(|| {
            let result = answered(&segment.dir, || engine.scan(&read.range, read.limit));
            latched(&self.disk, &segment.dir, result)
        });
        // The reader may have gone away.
        let _ = read.answer.send(scanned);
    }

    /// Writes `first` and all that waits behind it. The commit could have begun at `since`.
    fn write_group(&mut self, first: Write, since: Instant) {
        let next = match self.next_segment() {
            Ok(next) => next,
            Err(e) => return first.refuse(&e),
        };
        let group = match &next {
            Some(_) => Group::begin(&self.marks),
            None => Group::new(self.active.segment.start()),
        };
        let before = next.map(|next| std::mem::replace(&mut self.active, next));
        let Gathered { batch, durability, entries, start, purged, memory_bytes, waiters } =
            self.gather(group, first);
        let committed = self.commit(batch, durability, since);
        if let Ok(took) = &committed {
            self.active.segment.set_start(start);
            self.active.bytes += memory_bytes;
            // Not up to the last entry that was appended: a truncation may have come behind it, and
            // what replaces what it took is not durable.
            if durability == Durability::Synced {
                self.contents.lock().tail.mark_durable(self.marks.end);
            }
            if before.is_some() {
                self.segments.push(self.active.segment.clone());
            }
            self.observe(entries, took);
        }
        waiters.tell(&committed.as_ref().map(drop).map_err(Clone::clone));
        purged.into_iter().for_each(|purged| self.caretaker.purged(purged));
        if let Some(Active { segment, engine, .. }) = before {
            drop(engine);
            segment.is_closed();
            self.caretaker.switched();
        }
    }

    /// The segment that the next group is to begin, if the active one is full. Without one that lies
    /// ready the old one just grows: its database bears it, and no write waits.
    fn next_segment(&self) -> Result<Option<Active>, StorageError> {
        self.disk.health.check()?;
        let is_full = self.active.bytes >= self.segment_bytes;
        let prepared = if is_full { self.caretaker.take_prepared() } else { None };
        prepared.map(|prepared| self.open(prepared)).transpose()
    }

    /// Opens a segment whose files the caretaker has made.
    fn open(&self, prepared: Prepared) -> Result<Active, StorageError> {
        let Prepared { segment, open } = prepared;
        segment.hand_to_writer(self.requests.clone());
        Active::open(segment, &self.disk, open)
    }

    /// All that waits, up to what a group may have, and the committed mark.
    fn gather(&mut self, mut group: Group, first: Write) -> Gathered {
        let mut write = Some(first);
        while let Some(some) = write {
            self.marks.note(&some);
            group.add(some);
            write = if group.is_full() { None } else { self.waiting_write().map(|(write, _)| write) };
        }
        if let Some(committed) = self.contents.take_committed(self.marks.end) {
            self.marks.committed = Some(committed.record.clone());
            group.committed(committed.record);
        }
        group.gathered()
    }

    fn commit(&mut self, batch: Batch, durability: Durability, since: Instant) -> Result<Took, StorageError> {
        let (started, synced_before) = (Instant::now(), time_syncing());
        let Active { segment, engine, .. } = &mut self.active;
        let result = answered(&segment.dir, || engine.write(batch, durability));
        latched(&self.disk, &segment.dir, result)?;
        let syncing = time_syncing().saturating_sub(synced_before);
        Ok(Took { all: since.elapsed(), writing: started.elapsed(), syncing })
    }

    fn observe(&self, entries: u64, took: &Took) {
        let observer = self.disk.observer();
        if entries > 0 {
            observer.appended(entries);
        }
        if took.all >= STALL {
            observer.stalled(Db::Log, took.cause(), took.all);
        }
    }

    /// Writes the committed mark, if it has not gone with a group.
    fn close(&mut self) {
        if self.disk.health.check().is_err() {
            return;
        }
        if let Some(committed) = self.contents.take_committed(self.marks.end) {
            let mut batch = Batch::default();
            batch.put(Mark::Committed.key(), committed.record);
            // A failure has been latched; the mark may be older than the truth.
            let _ = self.commit(batch, Durability::Ordered, Instant::now());
        }
    }
}

impl Took {
    /// What most of it was spent on.
    fn cause(&self) -> StallCause {
        let waiting = self.all.saturating_sub(self.writing);
        let engine = self.writing.saturating_sub(self.syncing);
        if self.syncing >= engine.max(waiting) {
            StallCause::Sync
        } else if engine >= waiting {
            StallCause::Engine
        } else {
            StallCause::Reader
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_has_the_cause_that_took_most_of_it() {
        let ms = Duration::from_millis;
        let of = |writing, syncing| Took { all: ms(100), writing: ms(writing), syncing: ms(syncing) }.cause();
        assert_eq!(of(99, 90), StallCause::Sync);
        assert_eq!(of(99, 10), StallCause::Engine);
        assert_eq!(of(20, 10), StallCause::Reader);
    }
}
