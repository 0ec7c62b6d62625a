//! Groups that are written one after the other on the thread of the segment they go to: between two of them no other thread has
//! to be woken. Begun by the owner, who gets back what it lent, and meanwhile tells those who wait.

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

/// What a pair costs in the memory of a segment's database beside its key and value: a node of LevelDB's skip list, three
/// allocations, their headers.
const PAIR_OVERHEAD_BYTES: usize = 160;

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

/// A group whose commit has ended, before anybody has been told.
pub(super) struct Ended<C: RaftTypeConfig> {
    /// Where the segment starts now, if it went well.
    pub(super) start: u64,
    /// Up to where a purge in it reaches.
    pub(super) purged: Option<LogIdOf<C>>,
    /// What it takes in the memory of the segment's database.
    pub(super) bytes: u64,
    pub(super) entries: u64,
    /// With what else the thread did before it, while it waited.
    pub(super) took: Duration,
    pub(super) waiters: Waiters<C>,
    pub(super) result: Result<WriteTime, StorageError>,
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

/// Invariants: `intake` is there until the turn is over; nothing is written after a fault.
pub(super) struct GroupTurn<C: RaftTypeConfig> {
    intake: Option<Intake<C>>,
    first: Option<Write<C>>,
    place: Place,
    /// From here on the next group could have been written, had the thread had nothing else to do.
    since: Instant,
    news: SyncSender<News<C>>,
}

impl<C: RaftTypeConfig> GroupTurn<C> {
    /// The first group begins with `first`.
    pub(super) fn new(intake: Intake<C>, first: Write<C>, place: Place, news: SyncSender<News<C>>) -> Self {
        Self { intake: Some(intake), first: Some(first), place, since: Instant::now(), news }
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

    fn commit(&mut self, group: Group<C>, write: WriteCall<'_>) -> Ended<C> {
        let (start, purged) = (group.start(), group.purged());
        let (batch, durability, entries, waiters) = group.into_parts();
        let bytes = batch.ops().len().saturating_mul(PAIR_OVERHEAD_BYTES).saturating_add(batch.bytes());
        let Place { disk, dir, .. } = &self.place;
        let healthy = disk.health.check().map_err(StorageError::from);
        let result = healthy.and_then(|()| latched(disk, dir, write(batch, durability)));
        let bytes = bytes as u64;
        if result.is_ok() {
            self.place.start = start;
            self.place.room_bytes = self.place.room_bytes.saturating_sub(bytes);
        }
        Ended { start, purged, bytes, entries, took: self.since.elapsed(), waiters, result }
    }

    /// The owner waits for it, unless its thread has ended with a panic, which is latched.
    fn tell(&self, news: News<C>) {
        let _ = self.news.send(news);
    }
}

impl<C: RaftTypeConfig> Turn for GroupTurn<C> {
    fn step(&mut self, write: WriteCall<'_>) -> bool {
        if let Some(group) = self.next_group() {
            let ended = self.commit(group, write);
            self.tell(News::Ended(ended));
            self.since = Instant::now();
            return true;
        }
        if let Some(intake) = self.intake.take() {
            self.tell(News::Over(intake));
        }
        false
    }
}
