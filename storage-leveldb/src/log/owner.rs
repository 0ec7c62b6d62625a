//! The thread that writes the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::RaftTypeConfig;
use tokio::sync::mpsc::Receiver;

use super::caretaker::CaretakerThread;
use super::command::Write;
use super::contents::SharedContents;
use super::group::{Group, Waiters};
use super::marks::Marks;
use super::segment::Segment;
use super::segments::SharedSegments;
use crate::disk::GuardedDisk;
use crate::engine::WriteTime;
use crate::error::StorageError;
use crate::observer::{Db, StallCause};

/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);
/// What a pair costs in the memory of a segment's database beside its key and value: a node of LevelDB's skip list, three
/// allocations, their headers.
const PAIR_OVERHEAD_BYTES: usize = 160;

/// Invariants: no append is called done before a sync that began after its records were written; `active` is the newest
/// of `segments`; `marks` are what a new segment has to begin with.
pub(super) struct Owner<C: RaftTypeConfig> {
    pub(super) contents: Arc<SharedContents<C>>,
    pub(super) disk: GuardedDisk,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) caretaker: CaretakerThread<C>,
    pub(super) marks: Marks,
    pub(super) active: Arc<Segment>,
    /// What is in `active` takes about so much memory.
    pub(super) active_bytes: u64,
    pub(super) segment_bytes: u64,
}

/// A group whose commit has ended, and how, before anybody has been told.
struct Ended<C: RaftTypeConfig> {
    waiters: Waiters<C>,
    result: Result<(), StorageError>,
}

impl<C: RaftTypeConfig> Owner<C> {
    /// Serves until every sender is gone.
    pub(super) fn run(mut self, mut queue: Receiver<Write<C>>) {
        let mut before = None;
        loop {
            // Telling takes as long as writing does where many wait, so it is done while the next group is written. Where
            // none is, nobody waits for another.
            let mut first = queue.try_recv().ok();
            if first.is_none() {
                self.tell(before.take());
                first = queue.blocking_recv();
            }
            let Some(first) = first else { return };
            before = self.commit_all(first, &mut queue, before);
        }
    }

    /// Commits every write that waits as one group. Meanwhile those who waited for the one before are told.
    fn commit_all(
        &mut self,
        first: Write<C>,
        queue: &mut Receiver<Write<C>>,
        before: Option<Ended<C>>,
    ) -> Option<Ended<C>> {
        // Without a next segment the old one just grows: its database bears it, and nobody waits.
        let next =
            if self.active_bytes >= self.segment_bytes { self.caretaker.take_prepared() } else { None };
        let mut group = match &next {
            Some(_) => Group::begin(&self.marks),
            None => Group::new(self.active.start()),
        };
        let mut write = Some(first);
        while let Some(some) = write {
            self.marks.note(&some);
            group.add(some);
            write = if group.is_full() { None } else { queue.try_recv().ok() };
        }
        self.commit(group, next, before)
    }

    /// Writes a group to the next segment, if there is one to be begun, or to the active one.
    fn commit(
        &mut self,
        group: Group<C>,
        next: Option<Arc<Segment>>,
        before: Option<Ended<C>>,
    ) -> Option<Ended<C>> {
        if group.is_empty() {
            return before;
        }
        let (start, purged) = (group.start(), group.purged());
        let (batch, durability, entries, waiters) = group.into_parts();
        let bytes =
            batch.ops().len().saturating_mul(PAIR_OVERHEAD_BYTES).saturating_add(batch.bytes()) as u64;
        let started = Instant::now();
        let segment = next.as_ref().unwrap_or(&self.active);
        let writing = segment.begin_write(batch, durability);
        self.tell(before);
        let result = writing.and_then(|writing| segment.end_write(writing));
        let result = result.map(|time| self.observe(entries, started.elapsed(), time));
        if result.is_ok() {
            self.written(start, bytes, next);
            purged.into_iter().for_each(|purged| self.caretaker.purged(purged));
        }
        Some(Ended { waiters, result })
    }

    fn written(&mut self, start: u64, bytes: u64, next: Option<Arc<Segment>>) {
        let segment = next.as_ref().unwrap_or(&self.active);
        segment.set_start(start);
        let mut before = self.active_bytes;
        if let Some(next) = next {
            self.segments.push(next.clone());
            self.active = next;
            self.caretaker.switched();
            before = 0;
        }
        self.active_bytes = before.saturating_add(bytes);
        let half = self.segment_bytes / 2;
        if before < half && self.active_bytes >= half {
            self.caretaker.half_full();
        }
    }

    fn tell(&self, ended: Option<Ended<C>>) {
        let Some(Ended { waiters, result }) = ended else { return };
        if let (Ok(()), Some(end)) = (&result, waiters.durable_end()) {
            self.contents.lock().tail.mark_durable(end);
        }
        waiters.tell(&result);
    }

    fn observe(&self, entries: u64, took: Duration, time: WriteTime) {
        let observer = self.disk.observer();
        if entries > 0 {
            observer.appended(entries);
        }
        if took >= STALL {
            observer.stalled(Db::Log, cause(took, time), took);
        }
    }
}

/// What most of a commit that took so long was spent on.
fn cause(took: Duration, time: WriteTime) -> StallCause {
    let waiting = took.saturating_sub(time.total);
    let engine = time.total.saturating_sub(time.syncing);
    if time.syncing >= engine.max(waiting) {
        StallCause::Sync
    } else if engine >= waiting {
        StallCause::Engine
    } else {
        StallCause::Reader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_has_the_cause_that_took_most_of_it() {
        let ms = Duration::from_millis;
        let of = |total, syncing| cause(ms(100), WriteTime { total: ms(total), syncing: ms(syncing) });
        assert_eq!(of(99, 90), StallCause::Sync);
        assert_eq!(of(99, 10), StallCause::Engine);
        assert_eq!(of(20, 10), StallCause::Reader);
    }
}
