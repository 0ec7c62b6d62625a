//! The maintenance thread, and how the writer talks to it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::manifest::PurgePoint;
use super::segment::Segment;
use crate::disk::GuardedDisk;
use crate::error::StorageError;
use crate::monitor::Monitor;
use crate::owned_thread::OwnedThread;

/// What the thread is told, and what it has ready.
#[derive(Default)]
pub(super) struct Tasks {
    /// Nothing may be changed before what is there has been found good.
    pub(super) may_begin: bool,
    /// To be begun in this order.
    pub(super) prepared: VecDeque<Arc<Segment>>,
    /// Room is made for the first of them; until then none can be begun.
    pub(super) is_reserving: bool,
    /// The first of them will soon be begun.
    pub(super) is_half_full: bool,
    /// One of them has been begun, so that another segment is closed now.
    pub(super) has_switched: bool,
    /// Up to here the log has been purged, as far as the thread does not know yet.
    pub(super) purged: Option<PurgePoint>,
    pub(super) stop: bool,
}

/// How the thread is told. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct MaintenanceTasks(pub(super) Arc<Monitor<Tasks>>);

/// The running thread. Dropping this ends it and waits for it.
pub(super) struct MaintenanceThread {
    pub(super) tasks: MaintenanceTasks,
    _thread: OwnedThread,
}

impl MaintenanceThread {
    /// Starts it for the log in `dir`, with these segments ready. `work` ends once it is told to
    /// stop.
    pub(super) fn start(
        disk: &GuardedDisk,
        dir: &Path,
        prepared: VecDeque<Arc<Segment>>,
        work: impl FnOnce(&Monitor<Tasks>) + Send + 'static,
    ) -> Result<Self, StorageError> {
        let tasks = Arc::new(Monitor::new(Tasks { prepared, ..Tasks::default() }));
        let its_tasks = tasks.clone();
        let thread = OwnedThread::latching("raft-log-maint", disk, dir, move || work(&its_tasks))?;
        Ok(Self { tasks: MaintenanceTasks(tasks), _thread: thread })
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.tasks.0.change(|tasks| tasks.stop = true);
    }
}

impl MaintenanceTasks {
    /// What is there has been found good: the maintenance may change it.
    pub(super) fn begin(&self) {
        self.0.change(|tasks| tasks.may_begin = true);
    }

    /// A segment that can be begun at once, if there is one yet.
    pub(super) fn take_prepared(&self) -> Option<Arc<Segment>> {
        self.0.change(|tasks| if tasks.is_reserving { None } else { tasks.prepared.pop_front() })
    }

    /// Half of the active segment is used up.
    pub(super) fn half_full(&self) {
        self.0.change(|tasks| tasks.is_half_full = true);
    }

    /// What was taken has been begun.
    pub(super) fn switched(&self) {
        self.0.change(|tasks| {
            tasks.has_switched = true;
            tasks.is_half_full = false;
        });
    }

    /// The entries before this point may go.
    pub(super) fn purged(&self, point: PurgePoint) {
        self.0.change(|tasks| tasks.purged = Some(point));
    }
}
