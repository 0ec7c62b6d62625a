//! One client of a benchmark: one operation after the other.

use std::sync::Arc;
use std::time::Duration;

use kvcli::Client;
use tokio::time::Instant;

use super::end::Stop;
use super::tally::Counters;
use super::workload::Workload;

/// After an operation that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// One client. Each has a session of its own.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) client: Client,
    pub(super) workload: Workload,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Stop,
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
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}
