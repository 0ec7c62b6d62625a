//! The thread that makes segments and gets rid of them, so that no append or vote waits for it.
//!
//! ```text
//! prepare: the files of a new segment ─▶ ROOT ─▶ the writer begins it when the active one is full
//! purge:   ROOT without what is purged ─▶ its segments are removed
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::manifest::{Manifest, segment_name, segments_in};
use super::request::StoredLogId;
use super::segment::Segment;
use super::segments::{Segments, SharedSegments};
use crate::disk::GuardedDisk;
use crate::engine::{EngineFactory, PreparedEngine, latched};
use crate::error::StorageError;
use crate::owner_thread::latching;

/// How long removed segments that are still read are left alone.
const REMOVED_INTERVAL: Duration = Duration::from_millis(200);

/// A segment that can be begun at once, and what opens it.
pub(super) struct Prepared {
    pub(super) segment: Arc<Segment>,
    pub(super) open: PreparedEngine,
}

/// What the caretaker is told, and what it has ready.
#[derive(Default)]
struct Tasks {
    /// Nothing may be changed before what is there has been found good.
    may_begin: bool,
    prepared: Option<Prepared>,
    /// It has been begun, so that another segment is not written any more.
    has_switched: bool,
    /// Up to here the log has been purged, as far as the caretaker does not know yet.
    purged: Option<StoredLogId>,
    stop: bool,
}

/// The tasks behind a lock that is held for memory operations only.
#[derive(Default)]
struct SharedTasks {
    tasks: Mutex<Tasks>,
    changed: Condvar,
}

impl SharedTasks {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tasks) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }
}

/// Lets the caretaker begin.
#[derive(Clone)]
pub(super) struct CaretakerStart(Arc<SharedTasks>);

impl CaretakerStart {
    /// What is there has been found good.
    pub(super) fn begin(&self) {
        self.0.change(|tasks| tasks.may_begin = true);
    }
}

/// The running thread. Dropping this ends it and waits for it.
pub(super) struct CaretakerThread {
    tasks: Arc<SharedTasks>,
    thread: Option<JoinHandle<()>>,
}

impl CaretakerThread {
    pub(super) fn start(caretaker: Caretaker) -> Result<Self, StorageError> {
        let tasks = Arc::<SharedTasks>::default();
        let its_tasks = tasks.clone();
        let (disk, dir) = (caretaker.disk.clone(), caretaker.dir.clone());
        let body = move || latching(&disk, &dir, || caretaker.run(&its_tasks));
        let thread = thread::Builder::new().name("raft-log-care".to_owned()).spawn(body).map_err(|e| {
            tracing::error!(error = %e, "cannot start a storage thread");
            StorageError::Closed
        })?;
        Ok(Self { tasks, thread: Some(thread) })
    }

    pub(super) fn starter(&self) -> CaretakerStart {
        CaretakerStart(self.tasks.clone())
    }

    /// A segment that can be begun at once, if there is one yet.
    pub(super) fn take_prepared(&self) -> Option<Prepared> {
        self.tasks.change(|tasks| tasks.prepared.take())
    }

    /// What was taken has been begun.
    pub(super) fn switched(&self) {
        self.tasks.change(|tasks| tasks.has_switched = true);
    }

    /// Entries up to this one may go.
    pub(super) fn purged(&self, log_id: StoredLogId) {
        self.tasks.change(|tasks| tasks.purged = Some(log_id));
    }
}

impl Drop for CaretakerThread {
    fn drop(&mut self) {
        self.tasks.change(|tasks| tasks.stop = true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been latched.
            let _ = thread.join();
        }
    }
}

/// Invariants: `manifest` is what ROOT says, and names every segment that counts and the one that
/// may be begun, except before the first is prepared: until then ROOT may name segments that were
/// never begun. `removed` are not named any more, but may still be read.
pub(super) struct Caretaker {
    pub(super) dir: PathBuf,
    pub(super) disk: GuardedDisk,
    pub(super) factory: Arc<dyn EngineFactory>,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) manifest: Manifest,
    /// No directory has this number or a greater one.
    pub(super) next_number: u64,
    /// Up to here the log is purged.
    pub(super) purged: Option<StoredLogId>,
    pub(super) removed: Vec<Arc<Segment>>,
}

impl Caretaker {
    /// Works until it is stopped, or a fault is latched.
    fn run(mut self, tasks: &SharedTasks) {
        let mut is_idle = false;
        let mut has_garbage = true;
        while self.wait(tasks, is_idle) {
            match self.work(tasks, &mut has_garbage) {
                Ok(has_worked) => is_idle = !has_worked,
                Err(_) => return,
            }
        }
    }

    /// Until there may be something to do; `false`: it is to end.
    fn wait(&mut self, tasks: &SharedTasks, is_idle: bool) -> bool {
        let (started, may_delete) = (Instant::now(), !self.removed.is_empty());
        let mut guard = tasks.lock();
        let has_news = |tasks: &Tasks| {
            tasks.prepared.is_none() || tasks.has_switched || tasks.purged.is_some() || !is_idle
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

    /// Does one thing, that which others may wait for first. Answers whether there was anything
    /// to do.
    fn work(&mut self, tasks: &SharedTasks, has_garbage: &mut bool) -> Result<bool, StorageError> {
        if tasks.lock().prepared.is_none() {
            let prepared = self.prepare()?;
            tasks.change(|tasks| tasks.prepared = Some(prepared));
            return Ok(true);
        }
        // What an earlier process has left; ROOT does not name it any more.
        if std::mem::take(has_garbage) {
            self.delete_garbage()?;
        }
        let has_purged = self.purge()?;
        let is_named = |segment: Arc<Segment>| self.manifest.segments.contains(&segment.number);
        let covers = self.segments.get().covers();
        assert!(covers.into_iter().all(|(segment, _)| is_named(segment)), "ROOT names all that counts");
        self.delete_removed();
        Ok(has_purged)
    }

    /// The files of a new segment, durable and named by ROOT.
    fn prepare(&mut self) -> Result<Prepared, StorageError> {
        let number = self.next_number;
        self.next_number += 1;
        let segment = Arc::new(Segment::new(&self.factory, &self.disk, &self.dir, number));
        let open = self.factory.clone().prepare(&segment.dir);
        let open = latched(&self.disk, &segment.dir, open)?;
        self.manifest.segments.push(number);
        self.manifest.replace(&self.disk, &self.dir)?;
        Ok(Prepared { segment, open })
    }

    /// Gives up the segments that hold nothing but what is purged or truncated.
    fn purge(&mut self) -> Result<bool, StorageError> {
        let purged_end = self.purged.as_ref().map_or(0, |log_id| log_id.index.saturating_add(1));
        let gone = is_purged(&self.segments.get(), purged_end);
        if gone.is_empty() {
            return Ok(false);
        }
        self.manifest.segments.retain(|number| gone.iter().all(|segment| segment.number != *number));
        self.manifest.has_purged(self.purged.as_ref());
        self.manifest.replace(&self.disk, &self.dir)?;
        self.segments.remove(&gone);
        self.removed.extend(gone);
        Ok(true)
    }

    /// Removes every segment that does not count.
    fn delete_garbage(&self) -> Result<(), StorageError> {
        for number in segments_in(&self.disk, &self.dir)? {
            if !self.manifest.segments.contains(&number) {
                self.disk.delete_dir(&self.dir.join(segment_name(number)))?;
            }
        }
        Ok(())
    }

    /// Removes the directories of what is not read any more.
    fn delete_removed(&mut self) {
        let all = std::mem::take(&mut self.removed);
        // A segment that does not count gets no handle but from one that there is.
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

/// The segments none of whose entries counts any more once everything before `purged_end` is
/// gone. Never the newest.
fn is_purged(segments: &Segments, purged_end: u64) -> Vec<Arc<Segment>> {
    let mut covers = segments.covers();
    covers.pop();
    let gone = covers.into_iter().filter(|(_, range)| range.end <= purged_end || range.is_empty());
    gone.map(|(segment, _)| segment).collect()
}
