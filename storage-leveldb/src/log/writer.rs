//! The writer: the thread that decides which segment requests go to, has them written there by a
//! [`WriteLoop`], and keeps account of what is durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::maintenance_thread::MaintenanceThread;
use super::request::Request;
use super::segment::Segment;
use super::segments::SharedSegments;
use super::tail::SharedTail;
use super::write_loop::{Committed, Report, RequestQueue, Target, WriteLoop};
use crate::disk::GuardedDisk;
use crate::error::StorageError;

/// Reports that the writer has not heard yet; with more, writing waits.
const MAX_UNHEARD_REPORTS: usize = 2;

/// Invariants: no append is called done before a sync that began after its records were written;
/// `active` is the newest of `segments`.
pub(super) struct Writer {
    pub(super) tail: Arc<SharedTail>,
    pub(super) disk: GuardedDisk,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) maintenance: MaintenanceThread,
    pub(super) active: Arc<Segment>,
    /// What is in `active` takes about so much memory.
    pub(super) active_bytes: u64,
    pub(super) segment_bytes: u64,
}

impl Writer {
    /// Serves until every sender is gone, or nothing can be written any more.
    pub(super) fn run(mut self, mut queue: RequestQueue) {
        while let Some(first) = queue.requests.blocking_recv() {
            match self.write(first, queue) {
                Ok(back) => queue = back,
                // It has been latched. What waits is dropped, and with it the callbacks.
                Err(_) => return,
            }
        }
    }

    /// Has everything that waits written, in groups, until nothing does or the segment is full.
    fn write(&mut self, first: Request, queue: RequestQueue) -> Result<RequestQueue, StorageError> {
        // Without a next segment the old one just grows: its database bears it, and no caller
        // waits.
        let is_full = self.active_bytes >= self.segment_bytes;
        let mut next = if is_full { self.maintenance.take_prepared() } else { None };
        let segment = next.clone().unwrap_or_else(|| self.active.clone());
        let target = Target {
            disk: self.disk.clone(),
            dir: segment.dir.clone(),
            begins: next.is_some(),
            start: segment.start(),
            used_bytes: if next.is_some() { 0 } else { self.active_bytes },
            segment_bytes: self.segment_bytes,
        };
        let (sender, reports) = sync_channel(MAX_UNHEARD_REPORTS);
        segment.begin_writes(Box::new(WriteLoop::new(queue, first, target, sender)))?;
        self.hear(&reports, &mut next).ok_or_else(|| {
            let reason = "the thread that writes it has ended";
            self.disk.damaged(&segment.dir, reason).into()
        })
    }

    /// Keeps account until the loop is over. `None`: it will never be.
    fn hear(&mut self, reports: &Receiver<Report>, next: &mut Option<Arc<Segment>>) -> Option<RequestQueue> {
        loop {
            match reports.recv().ok()? {
                Report::Finished(queue) => return Some(queue),
                Report::Committed(committed) => self.committed(committed, next),
            }
        }
    }

    fn committed(&mut self, committed: Committed, next: &mut Option<Arc<Segment>>) {
        self.written(committed.start, committed.bytes, next.take());
        committed.purged.into_iter().for_each(|point| self.maintenance.purged(point));
        if let Some(end) = committed.durable_end {
            self.tail.lock().mark_durable(end);
        }
        committed.waiters.into_iter().for_each(|waiters| waiters.tell(&Ok(())));
    }

    fn written(&mut self, start: u64, bytes: u64, next: Option<Arc<Segment>>) {
        let segment = next.as_ref().unwrap_or(&self.active);
        segment.set_start(start);
        let mut before = self.active_bytes;
        if let Some(next) = next {
            self.segments.push(next.clone());
            self.active = next;
            self.maintenance.switched();
            before = 0;
        }
        debug_assert!(
            self.segments.get().newest().is_some_and(|newest| Arc::ptr_eq(newest, &self.active)),
            "the newest segment is written"
        );
        self.active_bytes = before + bytes;
        let half = self.segment_bytes / 2;
        if before < half && self.active_bytes >= half {
            self.maintenance.half_full();
        }
    }
}
