//! Writes one group after the other on the thread of the segment they go to, and completes their
//! callbacks there: between two groups no other thread has to be woken.
//!
//! The writer lends the queue to a write loop, and gets it back once nothing waits or the segment
//! is full. It hears of several groups at once, and of one that begins a segment, truncates or
//! purges before its callers do.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use super::group::{Group, Waiters};
use super::hard_state::HardState;
use super::manifest::PurgePoint;
use super::request::Request;
use crate::disk::GuardedDisk;
use crate::engine::{WriteCall, WriteSource, WriteTime, latched};
use crate::error::StorageError;
use crate::observer::{Db, StallCause};

/// What a pair costs in the memory of a segment's database beside its key and value: a node of
/// LevelDB's skip list, three allocations, their headers.
const PAIR_OVERHEAD_BYTES: usize = 160;

/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);
/// The writer, which lets go of what is durable in the tail, hears of it after so many groups,
const MAX_UNREPORTED_GROUPS: usize = 16;
/// or so many bytes. The tail is larger by so much.
const MAX_UNREPORTED_BYTES: u64 = 256 * 1024;

/// What was asked for, and what the hard state is once it is done.
pub(super) struct RequestQueue {
    pub(super) requests: Receiver<Request>,
    pub(super) hard_state: HardState,
}

/// What the writer hears.
pub(super) enum Report {
    Committed(Committed),
    /// Nothing more is written before the writer begins another loop.
    Finished(RequestQueue),
}

/// Groups that were committed.
pub(super) struct Committed {
    groups: usize,
    /// Where the segment starts now.
    pub(super) start: u64,
    /// Up to where a purge in them reaches.
    pub(super) purged: Option<PurgePoint>,
    /// What they take in the memory of the segment's database.
    pub(super) bytes: u64,
    /// Where the log ends for those that appended.
    pub(super) durable_end: Option<u64>,
    /// The callers that have not been told yet.
    pub(super) waiters: Option<Waiters>,
}

impl Committed {
    fn and_before(mut self, before: Option<Self>) -> Self {
        if let Some(before) = before {
            self.groups += before.groups;
            self.bytes += before.bytes;
            self.durable_end = self.durable_end.max(before.durable_end);
            self.purged = self.purged.or(before.purged);
        }
        self
    }

    /// Whether the writer must hear of it now.
    fn is_urgent(&self) -> bool {
        self.waiters.is_some() || self.groups >= MAX_UNREPORTED_GROUPS || self.bytes >= MAX_UNREPORTED_BYTES
    }
}

/// The segment that groups go to.
pub(super) struct Target {
    pub(super) disk: GuardedDisk,
    pub(super) dir: PathBuf,
    /// The first group begins it.
    pub(super) begins: bool,
    pub(super) start: u64,
    /// What is in it takes about so much memory.
    pub(super) used_bytes: u64,
    /// It is full with so much.
    pub(super) segment_bytes: u64,
}

/// Invariants: `queue` is there until the loop is over; nothing is written after a fault; the
/// callers of what is `unreported` were told.
pub(super) struct WriteLoop {
    queue: Option<RequestQueue>,
    first: Option<Request>,
    target: Target,
    /// What the writer has not heard of yet.
    unreported: Option<Committed>,
    /// From here on the next group could have been written, had the thread had nothing else to do.
    since: Instant,
    reports: SyncSender<Report>,
}

impl WriteLoop {
    /// The first group begins with `first`.
    pub(super) fn new(
        queue: RequestQueue,
        first: Request,
        target: Target,
        reports: SyncSender<Report>,
    ) -> Self {
        let (queue, first, since) = (Some(queue), Some(first), Instant::now());
        Self { queue, first, target, unreported: None, since, reports }
    }

    /// Everything that waits, if there is anything, and if it may go here.
    fn next_group(&mut self) -> Option<Group> {
        let queue = self.queue.as_mut()?;
        let has_room = self.target.used_bytes < self.target.segment_bytes;
        let waiting = |queue: &mut RequestQueue| queue.requests.try_recv().ok();
        let first = self.first.take().or_else(|| has_room.then(|| waiting(queue)).flatten())?;
        let mut group = match std::mem::take(&mut self.target.begins) {
            true => Group::begin(&queue.hard_state),
            false => Group::new(self.target.start),
        };
        let mut next = Some(first);
        while let Some(request) = next {
            queue.hard_state.note(&request);
            group.add(request);
            next = if group.is_full() { None } else { waiting(queue) };
        }
        Some(group)
    }

    fn commit(&mut self, group: Group, write: WriteCall<'_>) {
        let (start, purged, moves_ends) = (group.start(), group.purged(), group.moves_ends());
        let (batch, durability, entries, waiters) = group.into_parts();
        let bytes = (batch.ops().len() * PAIR_OVERHEAD_BYTES + batch.bytes()) as u64;
        let Target { disk, dir, .. } = &self.target;
        let healthy = disk.health.check().map_err(StorageError::from);
        let result = healthy.and_then(|()| latched(disk, dir, write(batch, durability)));
        let time = match result {
            Ok(time) => time,
            Err(e) => return waiters.tell(&Err(e)),
        };
        self.observe(entries, time);
        self.target.start = start;
        self.target.used_bytes += bytes;
        let durable_end = waiters.durable_end();
        let mut committed = Committed { groups: 1, start, purged, bytes, durable_end, waiters: None };
        if moves_ends {
            committed.waiters = Some(waiters);
        } else {
            waiters.tell(&Ok(()));
        }
        self.committed(committed);
    }

    fn committed(&mut self, committed: Committed) {
        let committed = committed.and_before(self.unreported.take());
        if committed.is_urgent() {
            self.report(Report::Committed(committed));
        } else {
            debug_assert!(committed.waiters.is_none(), "the callers of what is unreported were told");
            self.unreported = Some(committed);
        }
    }

    fn observe(&self, entries: u64, time: WriteTime) {
        let (observer, took) = (self.target.disk.observer(), self.since.elapsed());
        if entries > 0 {
            observer.appended(entries);
        }
        if took >= STALL {
            observer.stalled(Db::Log, cause(took, time), took);
        }
    }

    /// The writer waits for it, unless its thread has ended with a panic, which is latched.
    fn report(&self, report: Report) {
        let _ = self.reports.send(report);
    }
}

impl WriteSource for WriteLoop {
    fn write_next(&mut self, write: WriteCall<'_>) -> bool {
        if let Some(group) = self.next_group() {
            self.commit(group, write);
            self.since = Instant::now();
            return true;
        }
        if let Some(queue) = self.queue.take() {
            self.unreported
                .take()
                .into_iter()
                .for_each(|committed| self.report(Report::Committed(committed)));
            self.report(Report::Finished(queue));
        }
        false
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
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use bytes::Bytes;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::log::request::Done;
    use crate::observer::Silent;
    use crate::testing::SimDisk;

    type Reports = std::sync::mpsc::Receiver<Report>;
    type Told = oneshot::Receiver<Result<(), StorageError>>;

    /// A loop that has these requests to serve, in groups of what waits when they are asked for.
    fn write_loop(first: Request) -> (WriteLoop, mpsc::Sender<Request>, Reports) {
        let disk = GuardedDisk::new(Arc::new(SimDisk::default()), Arc::new(Silent), Arc::new(()));
        let (dir, segment_bytes) = ("segment".into(), 1 << 20);
        let target = Target { disk, dir, begins: false, start: 0, used_bytes: 0, segment_bytes };
        let (sender, requests) = mpsc::channel(8);
        let (reports, heard) = sync_channel(8);
        let queue = RequestQueue { requests, hard_state: HardState::default() };
        (WriteLoop::new(queue, first, target, reports), sender, heard)
    }

    fn step(writes: &mut WriteLoop) -> bool {
        writes.write_next(&mut |_, _| Ok(WriteTime { total: Duration::ZERO, syncing: Duration::ZERO }))
    }

    fn done() -> (Done, Told) {
        let (sender, told) = oneshot::channel();
        (Box::new(|result| sender.send(result).unwrap()), told)
    }

    fn vote() -> (Request, Told) {
        let (done, told) = done();
        (Request::Vote { record: Bytes::from_static(b"vote"), done }, told)
    }

    #[test]
    fn a_vote_is_answered_by_the_thread_that_writes_and_the_writer_hears_of_it_in_the_end() {
        let (first, mut told) = vote();
        let (mut writes, queue, heard) = write_loop(first);
        for _ in 0..3 {
            assert!(step(&mut writes));
            told.try_recv().unwrap().unwrap();
            assert!(heard.try_recv().is_err(), "the writer need not hear of it yet");
            let (next, its_told) = vote();
            told = its_told;
            queue.try_send(next).unwrap_or_else(|_| panic!("no room"));
        }
        assert!(step(&mut writes) && !step(&mut writes));
        let Ok(Report::Committed(committed)) = heard.try_recv() else { panic!("not heard") };
        assert_eq!(committed.groups, 4);
        assert!(matches!(heard.try_recv(), Ok(Report::Finished(_))));
    }

    /// Were it otherwise, entries appended behind a truncation could count as durable because those
    /// that they replace were.
    #[test]
    fn the_writer_hears_of_a_truncation_and_of_all_before_it_before_its_caller() {
        let (first, mut told) = vote();
        let (mut writes, queue, heard) = write_loop(first);
        assert!(step(&mut writes));
        told.try_recv().unwrap().unwrap();
        let (done, mut truncated) = done();
        queue.try_send(Request::Truncate { from: 5, end: 9, done }).unwrap_or_else(|_| panic!("no room"));
        assert!(step(&mut writes));
        assert!(truncated.try_recv().is_err(), "told before the writer has heard");
        let Ok(Report::Committed(committed)) = heard.try_recv() else { panic!("not heard") };
        assert_eq!(committed.groups, 2);
        committed.waiters.unwrap().tell(&Ok(()));
        truncated.try_recv().unwrap().unwrap();
    }

    #[test]
    fn the_writer_hears_of_a_purge_at_once() {
        let point = PurgePoint { end: 8, log_id: Bytes::from_static(b"7") };
        let record = Bytes::from_static(b"purged");
        let (mut writes, _queue, heard) = write_loop(Request::Purge { point: point.clone(), record });
        assert!(step(&mut writes));
        let Ok(Report::Committed(committed)) = heard.try_recv() else { panic!("not heard") };
        assert_eq!(committed.purged, Some(point));
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
