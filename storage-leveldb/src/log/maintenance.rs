//! Makes segments and gets rid of them, on a thread of its own, so that no append or vote waits for
//! it.
//!
//! ```text
//! prepare: a new database ─▶ MANIFEST ─▶ the writer begins it when the active one is full
//! reserve: room for what it will hold, when the active one is half full
//! store:   an older database ─▶ table ─▶ MANIFEST ─▶ the database is removed
//! purge:   MANIFEST without what is purged ─▶ its segments are removed
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::maintenance_thread::{MaintenanceThread, Tasks};
use super::manifest::{Form, LogManifest, PurgePoint, SegmentRecord};
use super::segment::Segment;
use super::segment_table::write_table;
use super::segments::SharedSegments;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::monitor::Monitor;

/// Databases beside the active one that are kept as they are: most are purged before they would
/// have to be stored.
const MAX_CLOSED_DATABASES: usize = 1;
/// How long removed segments that a reader still holds are left alone.
const REMOVED_INTERVAL: Duration = Duration::from_millis(200);

/// Invariants: `manifest` is what MANIFEST says, and names every segment that counts and every one
/// that may be begun; `removed` are not named any more, but a reader may still hold them.
pub(super) struct Maintenance {
    pub(super) dir: PathBuf,
    pub(super) disk: GuardedDisk,
    pub(super) factory: Arc<dyn EngineFactory>,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) segment_bytes: u64,
    pub(super) manifest: LogManifest,
    pub(super) next_number: u64,
    /// Up to here the log is purged.
    pub(super) purged: Option<PurgePoint>,
    pub(super) removed: Vec<Arc<Segment>>,
}

impl Maintenance {
    /// Starts the thread; the log may go on in the `prepared` segments.
    pub(super) fn start(self, prepared: VecDeque<Arc<Segment>>) -> Result<MaintenanceThread, StorageError> {
        let (disk, dir) = (self.disk.clone(), self.dir.clone());
        MaintenanceThread::start(&disk, &dir, prepared, move |tasks| self.run(tasks))
    }

    /// Works until it is stopped, or a fault is latched.
    fn run(mut self, tasks: &Monitor<Tasks>) {
        // What an earlier process has left to be done.
        let mut is_idle = false;
        let mut has_garbage = true;
        while self.wait(tasks, is_idle) {
            if std::mem::take(&mut has_garbage) && self.delete_garbage().is_err() {
                return;
            }
            match self.work(tasks) {
                Ok(has_worked) => is_idle = !has_worked,
                // The fault has been latched, which is how every caller learns of it.
                Err(_) => return,
            }
        }
    }

    /// Until there may be something to do; `false`: it is to end.
    fn wait(&mut self, tasks: &Monitor<Tasks>, is_idle: bool) -> bool {
        let (started, may_delete) = (Instant::now(), !self.removed.is_empty());
        let mut guard = tasks.lock();
        let has_news = |tasks: &Tasks| {
            tasks.prepared.is_empty()
                || tasks.is_half_full
                || tasks.has_switched
                || tasks.purged.is_some()
                || !is_idle
        };
        loop {
            if guard.stop || self.disk.health.check().is_err() {
                return false;
            }
            let has_waited = may_delete && started.elapsed() >= REMOVED_INTERVAL;
            if guard.may_begin && (has_waited || has_news(&guard)) {
                guard.has_switched = false;
                self.purged = guard.purged.take().or(self.purged.take());
                return true;
            }
            guard = if guard.may_begin && may_delete {
                tasks.wait_for(guard, REMOVED_INTERVAL)
            } else {
                tasks.wait(guard)
            };
        }
    }

    /// Does one thing, that which others may wait for first. Answers whether there was anything to
    /// do.
    fn work(&mut self, tasks: &Monitor<Tasks>) -> Result<bool, StorageError> {
        if tasks.lock().prepared.is_empty() {
            let prepared = self.prepare()?;
            tasks.change(|tasks| tasks.prepared.push_back(prepared));
            return Ok(true);
        }
        if self.reserve(tasks)? {
            return Ok(true);
        }
        let has_purged = self.purge()?;
        let has_stored = !has_purged && self.store(tasks)?;
        self.check_named();
        self.delete_removed();
        Ok(has_purged || has_stored)
    }

    /// Before anything is removed.
    fn check_named(&self) {
        let is_named = |segment: &Segment| self.manifest.segments.contains(&segment.record);
        let covers = self.segments.get().covers();
        assert!(covers.iter().all(|(segment, _)| is_named(segment)), "MANIFEST names all that counts");
        debug_assert!(!self.removed.iter().any(|segment| is_named(segment)), "a removed one is named");
    }

    fn next_record(&mut self, form: Form) -> Result<SegmentRecord, StorageError> {
        let number = self.next_number;
        let no_more = || self.disk.damaged(&self.dir, format!("segment {number} is the last there can be"));
        self.next_number = number.checked_add(1).ok_or_else(no_more)?;
        Ok(SegmentRecord { number, form })
    }

    /// A new database, durable and named by MANIFEST.
    fn prepare(&mut self) -> Result<Arc<Segment>, StorageError> {
        let record = self.next_record(Form::Database)?;
        let segment = Segment::create(&self.factory, &self.disk, &self.dir, record)?;
        self.manifest.segments.push(record);
        self.manifest.replace(&self.disk, &self.dir)?;
        Ok(Arc::new(segment))
    }

    /// Makes room for what the next segment will hold. Meanwhile none can be begun, so that no
    /// write waits for it, and they are begun in their order.
    fn reserve(&self, tasks: &Monitor<Tasks>) -> Result<bool, StorageError> {
        let first = |tasks: &mut Tasks| {
            let is_due = std::mem::take(&mut tasks.is_half_full);
            let first = is_due.then(|| tasks.prepared.front().cloned()).flatten();
            tasks.is_reserving = first.is_some();
            first
        };
        let Some(next) = first(&mut tasks.lock()) else {
            return Ok(false);
        };
        next.reserve(self.segment_bytes)?;
        tasks.change(|tasks| tasks.is_reserving = false);
        Ok(true)
    }

    /// The entries before it are purged.
    fn purged_end(&self) -> u64 {
        self.purged.as_ref().map_or(0, |point| point.end)
    }

    /// Gives up the segments that hold nothing but what is purged or truncated.
    fn purge(&mut self) -> Result<bool, StorageError> {
        let gone = self.segments.get().purged_before(self.purged_end());
        if gone.is_empty() {
            return Ok(false);
        }
        self.manifest.segments.retain(|record| gone.iter().all(|segment| segment.record != *record));
        self.manifest.purged = self.purged.clone().max(self.manifest.purged.clone());
        self.manifest.replace(&self.disk, &self.dir)?;
        self.segments.remove(&gone);
        self.removed.extend(gone);
        Ok(true)
    }

    /// Stores the oldest of too many databases as a table: a database holds in memory what is in
    /// it.
    fn store(&mut self, tasks: &Monitor<Tasks>) -> Result<bool, StorageError> {
        let segments = self.segments.get();
        let mut covers = segments.covers();
        covers.pop();
        let databases = covers.into_iter().filter(|(segment, _)| segment.is_database());
        let databases = databases.collect::<Vec<_>>();
        let Some((old, cover)) = databases.first().filter(|_| databases.len() > MAX_CLOSED_DATABASES) else {
            return Ok(false);
        };
        let record = self.next_record(Form::Table)?;
        let dir = self.dir.join(record.name());
        let entries = cover.start.max(self.purged_end())..cover.end;
        if !write_table(&self.factory, &self.disk, &dir, old, entries, &|| tasks.lock().stop)? {
            return Ok(false);
        }
        let new = Arc::new(Segment::open(&self.factory, &self.disk, &self.dir, record)?);
        for named in self.manifest.segments.iter_mut().filter(|named| **named == old.record) {
            *named = record;
        }
        // The table lacks what is purged.
        self.manifest.purged = self.purged.clone().max(self.manifest.purged.clone());
        self.manifest.replace(&self.disk, &self.dir)?;
        // A truncation may have come meanwhile.
        new.set_start(old.start());
        self.segments.replace(old, &new);
        self.removed.push(old.clone());
        Ok(true)
    }

    /// Removes every segment that does not count.
    fn delete_garbage(&self) -> Result<(), StorageError> {
        for record in SegmentRecord::all_in(&self.disk, &self.dir)? {
            if !self.manifest.segments.contains(&record) {
                self.disk.delete_dir(&self.dir.join(record.name()))?;
            }
        }
        Ok(())
    }

    /// Removes the directories of segments that no reader holds any more.
    fn delete_removed(&mut self) {
        let all = std::mem::take(&mut self.removed);
        // Only those who have it can make another handle of a segment that does not count.
        let (unused, used) =
            all.into_iter().partition::<Vec<_>, _>(|segment| Arc::strong_count(segment) == 1);
        self.removed = used;
        for segment in unused {
            let dir = segment.dir.clone();
            drop(segment);
            // A failure has been latched; what is left is removed at the next start.
            let _ = self.disk.delete_dir(&dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::engine::{LevelDb, LevelDbOptions};
    use crate::log::Segments;
    use crate::log::hard_state::HardState;
    use crate::observer::Silent;
    use crate::testing::{OperationKind, SimDisk};

    fn eventually(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "not within a minute");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The maintenance of a log of four segments, of which two have been begun; they and the other
    /// two.
    fn four_segments(disk: &SimDisk, segment_bytes: u64) -> (Maintenance, [Arc<Segment>; 4]) {
        let dir = Path::new("log");
        let disk = GuardedDisk::new(Arc::new(disk.clone()), Arc::new(Silent), Arc::new(()));
        let options = LevelDbOptions { log_step_bytes: 4096, ..LevelDbOptions::default() };
        let factory: Arc<dyn EngineFactory> = Arc::new(LevelDb::new(disk.clone(), options));
        disk.create_dir(dir).unwrap();
        let create = |number| Arc::new(Segment::create(&factory, &disk, dir, record(number)).unwrap());
        let segments = [1, 2, 3, 4].map(create);
        begin(&segments[0], 0);
        begin(&segments[1], 5);
        let manifest = LogManifest::new([1, 2, 3, 4].map(record).to_vec());
        manifest.replace(&disk, dir).unwrap();
        // It is removed before the thread first has nothing to do.
        drop(create(9));
        let begun = Segments::new(segments[..2].to_vec());
        let maintenance = Maintenance {
            dir: dir.to_owned(),
            disk,
            factory,
            segments: Arc::new(SharedSegments::new(begun)),
            segment_bytes,
            manifest,
            next_number: 10,
            purged: None,
            removed: Vec::new(),
        };
        (maintenance, segments)
    }

    fn record(number: u64) -> SegmentRecord {
        SegmentRecord { number, form: Form::Database }
    }

    fn begin(segment: &Segment, end: u64) {
        segment.begin(&HardState { end, ..HardState::default() }).unwrap();
    }

    /// Two lie ready after a crash. While room was made for the first of them the log could go on
    /// in the second, and no start accepts a segment that was begun behind one that was not.
    ///
    /// `entry_blocks` found it, when a close had begun to leave two.
    #[test]
    fn segments_are_begun_in_their_order_while_room_is_made_for_the_first() {
        let disk = SimDisk::default();
        let (maintenance, [_, _, third, fourth]) = four_segments(&disk, 1 << 20);
        let (holds, is_held) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (its_holds, its_is_held) = (holds.clone(), is_held.clone());
        disk.watch(move |moment| {
            its_is_held.fetch_or(moment.kind == OperationKind::Reserve, Ordering::SeqCst);
            while moment.kind == OperationKind::Reserve && its_holds.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
        let thread = maintenance.start([third, fourth].into()).unwrap();
        thread.tasks.begin();
        thread.tasks.half_full();
        eventually(|| is_held.load(Ordering::SeqCst));
        let taken = thread.tasks.take_prepared();
        holds.store(false, Ordering::SeqCst);
        assert_eq!(taken.map(|segment| segment.record), None);
        eventually(|| thread.tasks.take_prepared().is_some_and(|segment| segment.record == record(3)));
    }

    /// After a crash while a segment was being begun two lie ready, so nothing has to be prepared
    /// after the next switch.
    ///
    /// Found by reading: the thread slept through it, and a database too many stayed in memory
    /// until the one after.
    #[test]
    fn a_switch_with_another_segment_ready_closes_a_database() {
        let disk = SimDisk::default();
        let (maintenance, [_, _, third, fourth]) = four_segments(&disk, 0);
        let (disk, dir) = (maintenance.disk.clone(), maintenance.dir.clone());
        let segments = maintenance.segments.clone();
        let is_there = |wanted: SegmentRecord| SegmentRecord::all_in(&disk, &dir).unwrap().contains(&wanted);
        let thread = maintenance.start([third, fourth].into()).unwrap();
        thread.tasks.begin();
        eventually(|| !is_there(record(9)));
        let third = thread.tasks.take_prepared().unwrap();
        begin(&third, 9);
        segments.push(third);
        thread.tasks.switched();
        eventually(|| is_there(SegmentRecord { number: 10, form: Form::Table }) && !is_there(record(1)));
    }
}
