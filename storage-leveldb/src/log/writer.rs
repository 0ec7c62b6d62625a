//! The writer: makes groups of what waits, writes them, keeps account of what is durable, and
//! completes the callbacks.
//!
//! It works on the thread of the segment that is written, since a database stays on the thread that
//! opened it, and moves to that of the next segment once in a segment's life.

use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use super::group::Group;
use super::hard_state::HardState;
use super::maintenance_thread::MaintenanceTasks;
use super::request::{Queued, Request};
use super::segment::Segment;
use super::segments::SharedSegments;
use super::tail::SharedTail;
use crate::disk::GuardedDisk;
use crate::engine::{WriteCall, WriteSource, WriteTime, latched};
use crate::error::StorageError;
use crate::observer::{Db, StallCause};

/// What a pair costs in the memory of a segment's database beside its key and value: a node of
/// LevelDB's skip list, three allocations, their headers.
const PAIR_OVERHEAD_BYTES: usize = 160;
/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// Invariants: no append is called done before a sync that began after its records were written,
/// and before `tail` and `segments` know of it; nothing is written after a fault; `active` is the
/// newest of `segments`, or the first group will make it that.
pub(super) struct Writer {
    pub(super) requests: Receiver<Queued>,
    /// The next request, taken from the queue.
    pub(super) first: Option<Queued>,
    pub(super) hard_state: HardState,
    pub(super) tail: Arc<SharedTail>,
    pub(super) disk: GuardedDisk,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) maintenance: MaintenanceTasks,
    pub(super) active: Arc<Segment>,
    /// The next group begins `active`.
    pub(super) begins: bool,
    /// What is in `active` takes about so much memory.
    pub(super) active_bytes: u64,
    pub(super) segment_bytes: u64,
    /// When the last group was done: from here on the next could have been written.
    pub(super) since: Instant,
    /// Dropped after everything else: then the writer has ended.
    pub(super) _ended: mpsc::Sender<()>,
}

impl WriteSource for Writer {
    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.first.is_none() {
            self.first = ready!(self.requests.poll_recv(context));
        }
        Poll::Ready(())
    }

    fn write(mut self: Box<Self>, write: WriteCall<'_>) -> Option<Box<dyn WriteSource>> {
        // Without a request every sender is gone.
        self.first.as_ref()?;
        // Without a next segment the old one just grows: its database bears it, and no caller
        // waits.
        let is_full = self.active_bytes >= self.segment_bytes;
        if let Some(next) = is_full.then(|| self.maintenance.take_prepared()).flatten() {
            (self.active, self.begins, self.active_bytes) = (next.clone(), true, 0);
            // If that fails, it has been latched. What waits is dropped, and with it the callbacks.
            let _ = next.begin_writes(self);
            return None;
        }
        let (asked, first) = self.first.take()?;
        self.since = self.since.max(asked);
        let active = self.active.clone();
        let is_sound = active.latching(|| self.write_group(first, write)).is_some();
        // The writer lets go of the segment last, when it ends.
        drop(active);
        if is_sound { Some(self) } else { None }
    }
}

impl Writer {
    /// Writes what waits, `first` first.
    fn write_group(&mut self, first: Request, write: WriteCall<'_>) {
        let group = self.group_of(first);
        self.commit(group, write);
        self.since = Instant::now();
    }

    fn group_of(&mut self, first: Request) -> Group {
        let mut group =
            if self.begins { Group::begin(&self.hard_state) } else { Group::new(self.active.start()) };
        let mut next = Some(first);
        while let Some(request) = next {
            self.hard_state.note(&request);
            group.add(request);
            let mut waiting = || self.requests.try_recv().ok().map(|(_, request)| request);
            next = if group.is_full() { None } else { waiting() };
        }
        group
    }

    fn commit(&mut self, group: Group, write: WriteCall<'_>) {
        let (start, purged) = (group.start(), group.purged());
        let (batch, durability, entries, waiters) = group.into_parts();
        let bytes = (batch.ops().len() * PAIR_OVERHEAD_BYTES + batch.bytes()) as u64;
        let healthy = self.disk.health.check().map_err(StorageError::from);
        let result = healthy.and_then(|()| latched(&self.disk, &self.active.dir, write(batch, durability)));
        let time = match result {
            Ok(time) => time,
            Err(e) => return waiters.tell(&Err(e)),
        };
        self.observe(entries, time);
        self.written(start, bytes);
        purged.into_iter().for_each(|point| self.maintenance.purged(point));
        if let Some(end) = waiters.durable_end() {
            self.tail.lock().mark_durable(end);
        }
        // Not before: else entries appended behind a truncation would count as durable because
        // those that they replace were.
        waiters.tell(&Ok(()));
    }

    fn written(&mut self, start: u64, bytes: u64) {
        self.active.set_start(start);
        if std::mem::take(&mut self.begins) {
            self.segments.push(self.active.clone());
            self.maintenance.switched();
        }
        debug_assert!(
            self.segments.get().newest().is_some_and(|newest| Arc::ptr_eq(newest, &self.active)),
            "the newest segment is written"
        );
        let (before, half) = (self.active_bytes, self.segment_bytes / 2);
        self.active_bytes += bytes;
        if before < half && self.active_bytes >= half {
            self.maintenance.half_full();
        }
    }

    fn observe(&self, entries: u64, time: WriteTime) {
        let (observer, took) = (self.disk.observer(), self.since.elapsed());
        if entries > 0 {
            observer.appended(entries);
        }
        if took >= STALL {
            observer.stalled(Db::Log, cause(took, time), took);
        }
    }
}

/// What most of a commit that took so long was spent on: the sync, the rest of the engine's time,
/// or the wait for the engine.
fn cause(took: Duration, WriteTime { total, syncing }: WriteTime) -> StallCause {
    if 2 * syncing >= total && syncing + total >= took {
        StallCause::Sync
    } else if 2 * total >= took + syncing {
        StallCause::Engine
    } else {
        StallCause::Reader
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::engine::{EngineFactory, MemoryEngine};
    use crate::log::manifest::{Form, SegmentRecord};
    use crate::log::request::Done;
    use crate::log::tail::Tail;
    use crate::log::{BlockBuilder, Segments};
    use crate::observer::Silent;
    use crate::testing::SimDisk;

    /// The writer of an empty log, whose tail keeps nothing that is durable.
    fn writer() -> Box<Writer> {
        let disk = GuardedDisk::new(Arc::new(SimDisk::default()), Arc::new(Silent), Arc::new(()));
        let factory: Arc<dyn EngineFactory> = Arc::new(MemoryEngine::default());
        let record = SegmentRecord { number: 1, form: Form::Database };
        let active = Arc::new(Segment::create(&factory, &disk, Path::new("log"), record).unwrap());
        active.begin(&HardState::default()).unwrap();
        Box::new(Writer {
            requests: tokio::sync::mpsc::channel(1).1,
            first: None,
            hard_state: HardState::default(),
            tail: Arc::new(SharedTail::new(Tail::new(0..0, 0))),
            disk,
            segments: Arc::new(SharedSegments::new(Segments::new(vec![active.clone()]))),
            maintenance: MaintenanceTasks::default(),
            active,
            begins: false,
            active_bytes: 0,
            segment_bytes: 1 << 20,
            since: Instant::now(),
            _ended: mpsc::channel().0,
        })
    }

    /// Has the writer serve an append of one entry. `false`: it has ended.
    fn append(mut writer: Box<Writer>, done: Done) -> bool {
        let mut builder = BlockBuilder::new(0);
        builder.add(|_| Ok(())).unwrap();
        let entries = builder.finish();
        writer.tail.lock().append(0, entries.records);
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        writer.first = Some((Instant::now(), Request::Append { blocks: entries.blocks, room, done }));
        let (total, syncing) = (Duration::ZERO, Duration::ZERO);
        writer.write(&mut |_, _| Ok(WriteTime { total, syncing })).is_some()
    }

    /// Were it otherwise, entries appended behind a truncation could count as durable because those
    /// that they replace were.
    #[test]
    fn a_caller_is_told_when_what_is_durable_is_counted() {
        let writer = writer();
        let (tail, (told, hears)) = (writer.tail.clone(), mpsc::channel());
        assert!(append(writer, Box::new(move |_| told.send(tail.lock().first()).unwrap())));
        assert_eq!(hears.recv().unwrap(), 1, "the entry counts as durable");
    }

    /// A caller that waits for a request behind it would otherwise wait for ever.
    #[test]
    fn a_callback_that_panics_is_a_fault_and_ends_the_writer() {
        let writer = writer();
        let health = writer.disk.health.clone();
        assert!(!append(writer, Box::new(|_| panic!("a bug of the caller"))));
        assert!(health.check().unwrap_err().reason.contains("a bug of the caller"));
    }

    /// The first version took the next segment although nothing was to be written, so that two were
    /// left that had not been begun.
    #[test]
    fn a_log_that_is_closed_begins_no_segment() {
        let mut writer = writer();
        writer.segment_bytes = 0;
        let tasks = writer.maintenance.clone();
        tasks.0.change(|tasks| tasks.prepared.push_back(writer.active.clone()));
        assert!((writer as Box<dyn WriteSource>).write(&mut |_, _| panic!("it is written")).is_none());
        assert!(tasks.take_prepared().is_some(), "it is begun");
    }

    #[test]
    fn a_stall_has_the_cause_that_took_most_of_it() {
        let ms = Duration::from_millis;
        let of = |total, syncing| cause(ms(100), WriteTime { total: ms(total), syncing: ms(syncing) });
        assert_eq!(of(99, 90), StallCause::Sync);
        assert_eq!(of(99, 10), StallCause::Engine);
        assert_eq!(of(20, 10), StallCause::Reader);
    }
}
