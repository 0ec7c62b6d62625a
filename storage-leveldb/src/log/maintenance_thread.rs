//! The maintenance thread, and how the writer talks to it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::manifest::PurgePoint;
use super::segment::Segment;
use crate::disk::GuardedDisk;
use crate::error::StorageError;
use crate::owned_thread::OwnedThread;

/// What the thread is told, and what it has ready.
pub(super) struct Tasks {
    /// Nothing may be changed before what is there has been found good.
    pub(super) may_begin: bool,
    /// To be begun in this order.
    pub(super) prepared: VecDeque<Arc<Segment>>,
    /// The first of them will soon be begun.
    pub(super) is_half_full: bool,
    /// One of them has been begun, so that another segment is closed now.
    pub(super) has_switched: bool,
    /// Up to here the log has been purged, as far as the thread does not know yet.
    pub(super) purged: Option<PurgePoint>,
    pub(super) stop: bool,
}

/// The tasks behind a lock that is held for memory operations only.
pub(super) struct SharedTasks {
    tasks: Mutex<Tasks>,
    changed: Condvar,
}

impl SharedTasks {
    pub(super) fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Tasks) -> T) -> T {
        let answer = change(&mut self.lock());
        self.changed.notify_all();
        answer
    }

    /// Until there is news, or until `timeout`, if there is one.
    pub(super) fn wait<'a>(
        &self,
        tasks: MutexGuard<'a, Tasks>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Tasks> {
        match timeout {
            Some(timeout) => {
                let waited = self.changed.wait_timeout(tasks, timeout);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait(tasks).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Lets the maintenance begin.
pub(super) struct MaintenanceStart(Arc<SharedTasks>);

impl MaintenanceStart {
    /// What is there has been found good.
    pub(super) fn begin(&self) {
        self.0.change(|tasks| tasks.may_begin = true);
    }
}

/// The running thread. Dropping this ends it and waits for it.
pub(super) struct MaintenanceThread {
    tasks: Arc<SharedTasks>,
    _thread: OwnedThread,
}

impl MaintenanceThread {
    /// Starts it for the log in `dir`, with these segments ready. `work` ends once it is told to
    /// stop.
    pub(super) fn start(
        disk: &GuardedDisk,
        dir: &Path,
        prepared: VecDeque<Arc<Segment>>,
        work: impl FnOnce(&SharedTasks) + Send + 'static,
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
        let thread = OwnedThread::latching("raft-log-maint", disk, dir, move || work(&its_tasks))?;
        Ok(Self { tasks, _thread: thread })
    }

    pub(super) fn starter(&self) -> MaintenanceStart {
        MaintenanceStart(self.tasks.clone())
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

    /// The entries before this point may go.
    pub(super) fn purged(&self, point: PurgePoint) {
        self.tasks.change(|tasks| tasks.purged = Some(point));
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.tasks.change(|tasks| tasks.stop = true);
    }
}
