//! The thread that takes what is to be written to the log, has it written, and keeps the books.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use openraft::RaftTypeConfig;

use super::caretaker::CaretakerThread;
use super::command::Write;
use super::contents::SharedContents;
use super::segment::Segment;
use super::segments::SharedSegments;
use super::turn::{Ended, GroupTurn, Intake, News, Place};
use crate::disk::GuardedDisk;
use crate::error::StorageError;

/// News that the owner has not heard yet; with more, writing waits.
const MAX_UNHEARD_NEWS: usize = 2;

/// Invariants: no append is called done before a sync that began after its records were written;
/// `active` is the newest of `segments`.
pub(super) struct Owner<C: RaftTypeConfig> {
    pub(super) contents: Arc<SharedContents<C>>,
    pub(super) disk: GuardedDisk,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) caretaker: CaretakerThread<C>,
    pub(super) active: Arc<Segment>,
    /// What is in `active` takes about so much memory.
    pub(super) active_bytes: u64,
    pub(super) segment_bytes: u64,
}

impl<C: RaftTypeConfig> Owner<C> {
    /// Serves until every sender is gone, or nothing can be written any more.
    pub(super) fn run(mut self, mut intake: Intake<C>) {
        while let Some(first) = intake.queue.blocking_recv() {
            match self.write(first, intake) {
                Ok(back) => intake = back,
                // It has been latched. What waits is dropped, and with it go those who are to be
                // told.
                Err(_) => return,
            }
        }
    }

    /// Has everything that waits written, in groups, until nothing does or the segment is full.
    fn write(&mut self, first: Write<C>, intake: Intake<C>) -> Result<Intake<C>, StorageError> {
        // Without a next segment the old one just grows: its database bears it, and no caller
        // waits.
        let mut next =
            if self.active_bytes >= self.segment_bytes { self.caretaker.take_prepared() } else { None };
        let segment = next.clone().unwrap_or_else(|| self.active.clone());
        let used_bytes = if next.is_some() { 0 } else { self.active_bytes };
        let place = Place {
            disk: self.disk.clone(),
            dir: segment.dir.clone(),
            begins: next.is_some(),
            start: segment.start(),
            room_bytes: self.segment_bytes.saturating_sub(used_bytes),
        };
        let (sender, news) = sync_channel(MAX_UNHEARD_NEWS);
        segment.begin_turn(Box::new(GroupTurn::new(intake, first, place, sender)))?;
        self.hear(&news, &mut next).ok_or_else(|| {
            let reason = "the thread that writes it has ended";
            self.disk.damaged(&segment.dir, reason).into()
        })
    }

    /// Keeps the books until the turn is over. `None`: it will never be.
    fn hear(&mut self, news: &Receiver<News<C>>, next: &mut Option<Arc<Segment>>) -> Option<Intake<C>> {
        loop {
            match news.recv().ok()? {
                News::Over(intake) => return Some(intake),
                News::Ended(ended) => self.ended(ended, next),
            }
        }
    }

    fn ended(&mut self, ended: Ended<C>, next: &mut Option<Arc<Segment>>) {
        self.written(ended.start, ended.bytes, next.take());
        ended.purged.into_iter().for_each(|purged| self.caretaker.purged(purged));
        if let Some(end) = ended.durable_end {
            self.contents.lock().tail.mark_durable(end);
        }
        ended.waiters.into_iter().for_each(|waiters| waiters.tell(&Ok(())));
    }

    fn written(&mut self, start: u64, bytes: u64, next: Option<Arc<Segment>>) {
        let segment = next.as_ref().unwrap_or(&self.active);
        segment.set_start(start);
        let mut before = self.active_bytes;
        if let Some(next) = next {
            self.segments.push(next.clone());
            self.active = next;
            self.caretaker.switched();
            before = 0;
        }
        self.active_bytes = before + bytes;
        let half = self.segment_bytes / 2;
        if before < half && self.active_bytes >= half {
            self.caretaker.half_full();
        }
    }
}
