//! When a stage ends, and how its workers learn that it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a stage ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// After this time; operations in flight are still waited for.
    After(Duration),
    /// After this many operations.
    Operations(u64),
}

/// When the workers of a stage stop, whichever comes first. Shared by them.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    at: Option<Instant>,
    operations: u64,
    handed_out: Arc<AtomicU64>,
}

impl Stop {
    /// At the end of a stage that began then.
    pub(super) fn at(end: End, started: Instant) -> Self {
        let (at, operations) = match end {
            End::After(time) => (Some(started + time), u64::MAX),
            End::Operations(count) => (None, count),
        };
        Self { at, operations, handed_out: Arc::new(AtomicU64::new(0)) }
    }

    /// The number of the next operation, if there is to be one.
    pub(super) fn next(&self) -> Option<u64> {
        if self.at.is_some_and(|at| Instant::now() >= at) {
            return None;
        }
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        (number < self.operations).then_some(number)
    }
}
