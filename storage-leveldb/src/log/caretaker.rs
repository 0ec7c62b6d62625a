//! The thread that makes segments and gets rid of them, so that no append or vote waits for it.
//!
//! ```text
//! prepare: a new database ─▶ ROOT ─▶ the owner begins it when the active one is full
//! reserve: room for what it will hold, when the active one is half full
//! store:   an older database ─▶ run ─▶ ROOT ─▶ the database is removed
//! purge:   ROOT without what is purged ─▶ its segments are removed
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;

use super::retire::{is_purged, store_as_run};
use super::root::{Form, LogRoot, SegmentRecord};
use super::segment::Segment;
use super::segments::SharedSegments;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::owner_thread::latching;

/// Databases beside the active one that are kept as they are: most are purged before they would
/// have to be stored.
pub(super) const MAX_CLOSED_DATABASES: usize = 1;
/// How long removed segments that a reader still holds are left alone.
const REMOVED_INTERVAL: Duration = Duration::from_millis(200);

/// What the caretaker is told, and what it has ready.
struct Tasks<C: RaftTypeConfig> {
    /// Nothing may be changed before what is there has been found good.
    may_begin: bool,
    /// To be begun in this order.
    prepared: VecDeque<Arc<Segment>>,
    /// The first of them will soon be begun.
    is_half_full: bool,
    /// One of them has been begun, so that another segment is closed now.
    has_switched: bool,
    /// Up to here the log has been purged, as far as the caretaker does not know yet.
    purged: Option<LogIdOf<C>>,
    stop: bool,
}

/// The tasks behind a lock that is held for memory operations only.
struct SharedTasks<C: RaftTypeConfig> {
    tasks: Mutex<Tasks<C>>,
    changed: Condvar,
}

impl<C: RaftTypeConfig> SharedTasks<C> {
    fn lock(&self) -> MutexGuard<'_, Tasks<C>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tasks<C>) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }
}

/// Lets the caretaker begin.
pub(super) struct CaretakerStart<C: RaftTypeConfig>(Arc<SharedTasks<C>>);

impl<C: RaftTypeConfig> CaretakerStart<C> {
    /// What is there has been found good.
    pub(super) fn begin(&self) {
        self.0.change(|tasks| tasks.may_begin = true);
    }
}

/// The running thread. Dropping this ends it and waits for it.
pub(super) struct CaretakerThread<C: RaftTypeConfig> {
    tasks: Arc<SharedTasks<C>>,
    thread: Option<JoinHandle<()>>,
}

impl<C: RaftTypeConfig> CaretakerThread<C> {
    pub(super) fn start(
        caretaker: Caretaker<C>,
        prepared: VecDeque<Arc<Segment>>,
    ) -> Result<Self, StorageError> {
        let tasks = Tasks {
            may_begin: false,
            prepared,
            is_half_full: false,
            has_switched: false,
            purged: None,
            stop: false,
        };
        let tasks = Arc::new(SharedTasks { tasks: Mutex::new(tasks), changed: Condvar::new() });
        let its_tasks = tasks.clone();
        let (disk, dir) = (caretaker.disk.clone(), caretaker.dir.clone());
        let body = move || latching(&disk, &dir, || caretaker.run(&its_tasks));
        let thread = thread::Builder::new().name("raft-log-care".to_owned()).spawn(body).map_err(|e| {
            tracing::error!(error = %e, "cannot start a storage thread");
            StorageError::Closed
        })?;
        Ok(Self { tasks, thread: Some(thread) })
    }

    pub(super) fn starter(&self) -> CaretakerStart<C> {
        CaretakerStart(self.tasks.clone())
    }

    /// A segment that can be begun at once, if there is one yet.
    pub(super) fn take_prepared(&self) -> Option<Arc<Segment>> {
        self.tasks.change(|tasks| tasks.prepared.pop_front())
    }

    /// Half of the active segment is used up.
    pub(super) fn half_full(&self) {
        self.tasks.change(|tasks| tasks.is_half_full = true);
    }

    /// What was taken has been begun.
    pub(super) fn switched(&self) {
        self.tasks.change(|tasks| {
            tasks.has_switched = true;
            tasks.is_half_full = false;
        });
    }

    /// Entries up to this one may go.
    pub(super) fn purged(&self, log_id: LogIdOf<C>) {
        self.tasks.change(|tasks| tasks.purged = Some(log_id));
    }
}

impl<C: RaftTypeConfig> Drop for CaretakerThread<C> {
    fn drop(&mut self) {
        self.tasks.change(|tasks| tasks.stop = true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been latched.
            let _ = thread.join();
        }
    }
}

/// Invariants: `root` is what ROOT says, and names every segment that counts and every one that may
/// be begun; `removed` are not named any more, but a reader may still hold them.
pub(super) struct Caretaker<C: RaftTypeConfig> {
    pub(super) dir: PathBuf,
    pub(super) disk: GuardedDisk,
    pub(super) factory: Arc<dyn EngineFactory>,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) segment_bytes: u64,
    pub(super) root: LogRoot<C>,
    pub(super) next_number: u64,
    /// Up to here the log is purged.
    pub(super) purged: Option<LogIdOf<C>>,
    pub(super) removed: Vec<Arc<Segment>>,
}

impl<C: RaftTypeConfig> Caretaker<C> {
    /// Works until it is stopped, or a fault is latched.
    fn run(mut self, tasks: &SharedTasks<C>) {
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
    fn wait(&mut self, tasks: &SharedTasks<C>, is_idle: bool) -> bool {
        let (started, may_delete) = (Instant::now(), !self.removed.is_empty());
        let mut guard = tasks.lock();
        let has_news = |tasks: &Tasks<C>| {
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
            if guard.may_begin && may_delete {
                let waited = tasks.changed.wait_timeout(guard, REMOVED_INTERVAL);
                guard = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                guard = tasks.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Does one thing, that which others may wait for first. Answers whether there was anything to
    /// do.
    fn work(&mut self, tasks: &SharedTasks<C>) -> Result<bool, StorageError> {
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
        let is_named = |segment: Arc<Segment>| self.root.segments.contains(&segment.record);
        let covers = self.segments.get().covers();
        assert!(covers.into_iter().all(|(segment, _)| is_named(segment)), "ROOT names all that counts");
        self.delete_removed();
        Ok(has_purged || has_stored)
    }

    fn next_record(&mut self, form: Form) -> SegmentRecord {
        let number = self.next_number;
        self.next_number += 1;
        SegmentRecord { number, form }
    }

    /// A new database, durable and named by ROOT.
    fn prepare(&mut self) -> Result<Arc<Segment>, StorageError> {
        let record = self.next_record(Form::Database);
        let segment = Segment::create(&self.factory, &self.disk, &self.dir, record)?;
        self.root.segments.push(record);
        self.root.replace(&self.disk, &self.dir)?;
        Ok(Arc::new(segment))
    }

    /// Makes room for what the next segment will hold. Meanwhile it cannot be begun, so that no
    /// write waits for it.
    fn reserve(&self, tasks: &SharedTasks<C>) -> Result<bool, StorageError> {
        let take = |tasks: &mut Tasks<C>| {
            let is_due = std::mem::take(&mut tasks.is_half_full);
            is_due.then(|| tasks.prepared.pop_front()).flatten()
        };
        let Some(next) = take(&mut tasks.lock()) else {
            return Ok(false);
        };
        next.reserve(self.segment_bytes)?;
        tasks.change(|tasks| tasks.prepared.push_front(next));
        Ok(true)
    }

    /// Gives up the segments that hold nothing but what is purged or truncated.
    fn purge(&mut self) -> Result<bool, StorageError> {
        let purged_end = self.purged.as_ref().map_or(0, |id| id.index.saturating_add(1));
        let gone = is_purged(&self.segments.get(), purged_end);
        if gone.is_empty() {
            return Ok(false);
        }
        self.root.segments.retain(|record| gone.iter().all(|segment| segment.record != *record));
        self.root.purged = self.purged.clone().max(self.root.purged.clone());
        self.root.replace(&self.disk, &self.dir)?;
        self.segments.remove(&gone);
        self.removed.extend(gone);
        Ok(true)
    }

    /// Stores the oldest of too many databases as a run: a database holds in memory what is in it.
    fn store(&mut self, tasks: &SharedTasks<C>) -> Result<bool, StorageError> {
        let segments = self.segments.get();
        let mut covers = segments.covers();
        covers.pop();
        let databases = covers.into_iter().filter(|(segment, _)| segment.is_database());
        let databases = databases.collect::<Vec<_>>();
        let Some((old, cover)) = databases.first().filter(|_| databases.len() > MAX_CLOSED_DATABASES) else {
            return Ok(false);
        };
        let purged_end = self.purged.as_ref().map_or(0, |id| id.index.saturating_add(1));
        let record = self.next_record(Form::Run);
        let dir = self.dir.join(record.name());
        let entries = cover.start.max(purged_end)..cover.end;
        if !store_as_run(&self.factory, &self.disk, &dir, old, entries, &|| tasks.lock().stop)? {
            return Ok(false);
        }
        let new = Arc::new(Segment::open(&self.factory, &self.disk, &self.dir, record)?);
        for named in self.root.segments.iter_mut().filter(|named| **named == old.record) {
            *named = record;
        }
        // The run lacks what is purged.
        self.root.purged = self.purged.clone().max(self.root.purged.clone());
        self.root.replace(&self.disk, &self.dir)?;
        // A truncation may have come meanwhile.
        new.set_start(old.start());
        self.segments.replace(old, &new);
        self.removed.push(old.clone());
        Ok(true)
    }

    /// Removes every segment that does not count.
    fn delete_garbage(&self) -> Result<(), StorageError> {
        for record in LogRoot::<C>::there(&self.disk, &self.dir)? {
            if !self.root.segments.contains(&record) {
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

    use super::*;
    use crate::engine::{LevelDb, LevelDbOptions};
    use crate::log::Segments;
    use crate::log::marks::Marks;
    use crate::observer::NoObserver;
    use crate::testing::SimDisk;

    openraft::declare_raft_types!(Types: D = String, R = String, Node = openraft::BasicNode);

    fn eventually(is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so() {
            assert!(Instant::now() < deadline, "not within a minute");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// After a crash while a segment was being begun two lie ready, so nothing has to be prepared
    /// after the next switch.
    ///
    /// Found by reading: the caretaker slept through it, and a database too many stayed in memory
    /// until the one after.
    #[test]
    fn a_switch_with_another_segment_ready_closes_a_database() {
        let dir = Path::new("log");
        let disk = GuardedDisk::new(Arc::new(SimDisk::default()), Arc::new(NoObserver), Arc::new(()));
        let factory: Arc<dyn EngineFactory> = Arc::new(LevelDb::new(disk.clone(), LevelDbOptions::default()));
        disk.create_dir(dir).unwrap();
        let record = |number| SegmentRecord { number, form: Form::Database };
        let create = |number| Arc::new(Segment::create(&factory, &disk, dir, record(number)).unwrap());
        let begin = |segment: &Segment, end| segment.begin(&Marks { end, ..Marks::default() }).unwrap();
        let [first, second, third, fourth] = [1, 2, 3, 4].map(create);
        begin(&first, 0);
        begin(&second, 5);
        let root = LogRoot::<Types> { purged: None, segments: [1, 2, 3, 4].map(record).to_vec() };
        root.replace(&disk, dir).unwrap();
        // It is removed before the caretaker first has nothing to do.
        drop(create(9));
        let is_there = |wanted: SegmentRecord| LogRoot::<Types>::there(&disk, dir).unwrap().contains(&wanted);

        let segments = Arc::new(SharedSegments::new(Segments::new(vec![first, second])));
        let caretaker = Caretaker {
            dir: dir.to_owned(),
            disk: disk.clone(),
            factory: factory.clone(),
            segments: segments.clone(),
            segment_bytes: 0,
            root,
            next_number: 10,
            purged: None,
            removed: Vec::new(),
        };
        let thread = CaretakerThread::start(caretaker, [third, fourth].into()).unwrap();
        thread.starter().begin();
        eventually(|| !is_there(record(9)));
        let third = thread.take_prepared().unwrap();
        begin(&third, 9);
        segments.push(third);
        thread.switched();
        eventually(|| is_there(SegmentRecord { number: 10, form: Form::Run }) && !is_there(record(1)));
    }
}
