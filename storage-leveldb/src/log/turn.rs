//! Groups that are written one after the other on the thread of the segment they go to, which tells
//! those who wait: between two of them no other thread has to be woken. Begun by the owner, who
//! gets back what it lent, and keeps the books: it hears of several groups at once, and of one that
//! begins a segment, truncates or purges before its callers do.

use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;
use tokio::sync::mpsc::Receiver;

use super::command::Write;
use super::group::{Group, Waiters};
use super::marks::Marks;
use crate::disk::GuardedDisk;
use crate::engine::{Turn, WriteCall, WriteTime, latched};
use crate::error::StorageError;
use crate::observer::{Db, StallCause};

/// What a pair costs in the memory of a segment's database beside its key and value: a node of
/// LevelDB's skip list, three allocations, their headers.
const PAIR_OVERHEAD_BYTES: usize = 160;

/// A commit that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);
/// The owner, who lets go of what is durable in the tail, hears of it after so many groups,
const MAX_UNHEARD_GROUPS: usize = 16;
/// or so many bytes. The tail is larger by so much.
const MAX_UNHEARD_BYTES: u64 = 256 * 1024;

/// What was asked for, and what the marks are once it is done.
pub(super) struct Intake<C: RaftTypeConfig> {
    pub(super) queue: Receiver<Write<C>>,
    pub(super) marks: Marks,
}

/// What the owner hears.
pub(super) enum News<C: RaftTypeConfig> {
    Ended(Ended<C>),
    /// Nothing more is written before the owner begins another turn.
    Over(Intake<C>),
}

/// Groups that were committed.
pub(super) struct Ended<C: RaftTypeConfig> {
    groups: usize,
    /// Where the segment starts now.
    pub(super) start: u64,
    /// Up to where a purge in them reaches.
    pub(super) purged: Option<LogIdOf<C>>,
    /// What they take in the memory of the segment's database.
    pub(super) bytes: u64,
    /// Where the log ends for those who appended.
    pub(super) durable_end: Option<u64>,
    /// Who has not been told yet.
    pub(super) waiters: Option<Waiters<C>>,
}

impl<C: RaftTypeConfig> Ended<C> {
    fn and_before(mut self, before: Option<Self>) -> Self {
        if let Some(before) = before {
            self.groups += before.groups;
            self.bytes += before.bytes;
            self.durable_end = self.durable_end.max(before.durable_end);
            self.purged = self.purged.or(before.purged);
        }
        self
    }

    /// Whether the owner must hear of it now.
    fn is_urgent(&self) -> bool {
        self.waiters.is_some() || self.groups >= MAX_UNHEARD_GROUPS || self.bytes >= MAX_UNHEARD_BYTES
    }
}

/// Where groups go.
pub(super) struct Place {
    pub(super) disk: GuardedDisk,
    /// The segment's.
    pub(super) dir: PathBuf,
    /// The first group begins it.
    pub(super) begins: bool,
    pub(super) start: u64,
    /// It is full after so much more.
    pub(super) room_bytes: u64,
}

/// Invariants: `intake` is there until the turn is over; nothing is written after a fault; those in
/// `unheard` were told.
pub(super) struct GroupTurn<C: RaftTypeConfig> {
    intake: Option<Intake<C>>,
    first: Option<Write<C>>,
    place: Place,
    /// What the owner has not heard of yet.
    unheard: Option<Ended<C>>,
    /// From here on the next group could have been written, had the thread had nothing else to do.
    since: Instant,
    news: SyncSender<News<C>>,
}

impl<C: RaftTypeConfig> GroupTurn<C> {
    /// The first group begins with `first`.
    pub(super) fn new(intake: Intake<C>, first: Write<C>, place: Place, news: SyncSender<News<C>>) -> Self {
        Self { intake: Some(intake), first: Some(first), place, unheard: None, since: Instant::now(), news }
    }

    /// Everything that waits, if there is anything, and if it may go here.
    fn next_group(&mut self) -> Option<Group<C>> {
        let intake = self.intake.as_mut()?;
        let has_room = self.place.room_bytes > 0;
        let waiting = |intake: &mut Intake<C>| intake.queue.try_recv().ok();
        let first = self.first.take().or_else(|| has_room.then(|| waiting(intake)).flatten())?;
        let mut group = match std::mem::take(&mut self.place.begins) {
            true => Group::begin(&intake.marks),
            false => Group::new(self.place.start),
        };
        let mut write = Some(first);
        while let Some(some) = write {
            intake.marks.note(&some);
            group.add(some);
            write = if group.is_full() { None } else { waiting(intake) };
        }
        Some(group)
    }

    fn commit(&mut self, group: Group<C>, write: WriteCall<'_>) {
        let (start, purged, moves_ends) = (group.start(), group.purged(), group.moves_ends());
        let (batch, durability, entries, waiters) = group.into_parts();
        let bytes = batch.ops().len().saturating_mul(PAIR_OVERHEAD_BYTES).saturating_add(batch.bytes());
        let Place { disk, dir, .. } = &self.place;
        let healthy = disk.health.check().map_err(StorageError::from);
        let result = healthy.and_then(|()| latched(disk, dir, write(batch, durability)));
        let time = match result {
            Ok(time) => time,
            Err(e) => return waiters.tell(&Err(e)),
        };
        self.observe(entries, time);
        let bytes = bytes as u64;
        self.place.start = start;
        self.place.room_bytes = self.place.room_bytes.saturating_sub(bytes);
        let mut ended =
            Ended { groups: 1, start, purged, bytes, durable_end: waiters.durable_end(), waiters: None };
        if moves_ends {
            ended.waiters = Some(waiters);
        } else {
            waiters.tell(&Ok(()));
        }
        self.ended(ended);
    }

    fn ended(&mut self, ended: Ended<C>) {
        let ended = ended.and_before(self.unheard.take());
        if ended.is_urgent() { self.tell(News::Ended(ended)) } else { self.unheard = Some(ended) }
    }

    fn observe(&self, entries: u64, time: WriteTime) {
        let (observer, took) = (self.place.disk.observer(), self.since.elapsed());
        if entries > 0 {
            observer.appended(entries);
        }
        if took >= STALL {
            observer.stalled(Db::Log, cause(took, time), took);
        }
    }

    /// The owner waits for it, unless its thread has ended with a panic, which is latched.
    fn tell(&self, news: News<C>) {
        let _ = self.news.send(news);
    }
}

impl<C: RaftTypeConfig> Turn for GroupTurn<C> {
    fn step(&mut self, write: WriteCall<'_>) -> bool {
        if let Some(group) = self.next_group() {
            self.commit(group, write);
            self.since = Instant::now();
            return true;
        }
        if let Some(intake) = self.intake.take() {
            self.unheard.take().into_iter().for_each(|ended| self.tell(News::Ended(ended)));
            self.tell(News::Over(intake));
        }
        false
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
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver as NewsReceiver, sync_channel};

    use bytes::Bytes;
    use openraft::vote::RaftLeaderId;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::observer::NoObserver;
    use crate::testing::SimDisk;

    openraft::declare_raft_types!(Types: D = String, R = String, Node = openraft::BasicNode);

    type Told = oneshot::Receiver<Result<(), StorageError>>;

    /// A turn that has these writes to make, in groups of what waits when they are asked for.
    fn turn(
        first: Write<Types>,
    ) -> (GroupTurn<Types>, mpsc::Sender<Write<Types>>, NewsReceiver<News<Types>>) {
        let disk = GuardedDisk::new(Arc::new(SimDisk::default()), Arc::new(NoObserver), Arc::new(()));
        let place = Place { disk, dir: "segment".into(), begins: false, start: 0, room_bytes: 1 << 20 };
        let (sender, queue) = mpsc::channel(8);
        let (news, heard) = sync_channel(8);
        (GroupTurn::new(Intake { queue, marks: Marks::default() }, first, place, news), sender, heard)
    }

    fn step(turn: &mut GroupTurn<Types>) -> bool {
        turn.step(&mut |_, _| Ok(WriteTime { total: Duration::ZERO, syncing: Duration::ZERO }))
    }

    fn vote() -> (Write<Types>, Told) {
        let (done, told) = oneshot::channel();
        (Write::Vote { record: Bytes::from_static(b"vote"), done }, told)
    }

    #[test]
    fn who_votes_is_told_by_the_thread_that_writes_and_the_owner_hears_of_it_in_the_end() {
        let (first, mut told) = vote();
        let (mut turn, queue, heard) = turn(first);
        for _ in 0..3 {
            assert!(step(&mut turn));
            told.try_recv().unwrap().unwrap();
            assert!(heard.try_recv().is_err(), "the owner need not hear of it yet");
            let (next, its_told) = vote();
            told = its_told;
            queue.try_send(next).unwrap_or_else(|_| panic!("no room"));
        }
        assert!(step(&mut turn) && !step(&mut turn));
        let Ok(News::Ended(ended)) = heard.try_recv() else { panic!("not heard") };
        assert_eq!(ended.groups, 4);
        assert!(matches!(heard.try_recv(), Ok(News::Over(_))));
    }

    /// Were it otherwise, entries appended behind a truncation could count as durable because those
    /// that they replace were.
    #[test]
    fn the_owner_hears_of_a_truncation_and_of_all_before_it_before_whoever_asked() {
        let (first, mut told) = vote();
        let (mut turn, queue, heard) = turn(first);
        assert!(step(&mut turn));
        told.try_recv().unwrap().unwrap();
        let (done, mut truncated) = oneshot::channel();
        queue.try_send(Write::Truncate { from: 5, end: 9, done }).unwrap_or_else(|_| panic!("no room"));
        assert!(step(&mut turn));
        assert!(truncated.try_recv().is_err(), "told before the owner has heard");
        let Ok(News::Ended(ended)) = heard.try_recv() else { panic!("not heard") };
        assert_eq!(ended.groups, 2);
        ended.waiters.unwrap().tell(&Ok(()));
        truncated.try_recv().unwrap().unwrap();
    }

    #[test]
    fn the_owner_hears_of_a_purge_at_once() {
        let leader = <Types as RaftTypeConfig>::LeaderId::new(1, 1).to_committed();
        let log_id = openraft::LogId::new(leader, 7);
        let (mut turn, _queue, heard) = turn(Write::Purge { log_id, record: Bytes::from_static(b"purged") });
        assert!(step(&mut turn));
        let Ok(News::Ended(ended)) = heard.try_recv() else { panic!("not heard") };
        assert_eq!(ended.purged, Some(log_id));
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
