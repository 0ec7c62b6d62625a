//! One client of a benchmark: one operation after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvcli::Client;
use tokio::time::Instant;

use super::tally::Counters;
use super::workload::Workload;

/// One client. Each has a session of its own.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) client: Client,
    pub(super) workload: Workload,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Stop,
}

/// When the workers of a stage stop, whichever comes first. Shared by them.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) at: Option<Instant>,
    pub(super) operations: u64,
    pub(super) handed_out: Arc<AtomicU64>,
}

impl Stop {
    /// The number of the next operation, if there is to be one.
    fn next(&self) -> Option<u64> {
        if self.at.is_some_and(|at| Instant::now() >= at) {
            return None;
        }
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        (number < self.operations).then_some(number)
    }
}

impl Worker {
    pub(super) async fn run(self) {
        while let Some(number) = self.stop.next() {
            let started = Instant::now();
            match self.workload.operate(&self.client, number).await {
                Ok(()) => self.counters.record(self.number, started.elapsed()),
                Err(error) => {
                    self.counters.fail(error);
                    // A refusal may come at once, and asking again at once would be a flood.
                    tokio::time::sleep(super::stage::PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}
