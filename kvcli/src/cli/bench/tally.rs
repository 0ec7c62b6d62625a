//! What was counted in one stage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use kvcli::ClientError;

/// Longest latency told from a longer one.
const MAX_LATENCY_MICROS: u64 = 3_600_000_000;
/// Digits kept of each latency.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Workers share histograms, so that memory does not grow with their number.
const SHARDS: usize = 16;

/// Counts while a stage runs, shared by its workers.
#[derive(Debug)]
pub(super) struct Counters {
    shards: Vec<Mutex<Histogram<u64>>>,
    pub(super) done: AtomicU64,
    pub(super) errors: AtomicU64,
    first_error: Mutex<Option<ClientError>>,
}

/// The result of one stage.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) clients: u64,
    pub(super) connections: usize,
    pub(super) took: Duration,
    pub(super) errors: u64,
    pub(super) first_error: Option<ClientError>,
    /// Processor time of all nodes; none if it is not known of each.
    pub(super) nodes_micros: Option<u64>,
    /// Of operations that succeeded, in microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Counters {
    pub(super) fn new() -> anyhow::Result<Self> {
        let shards = (0..SHARDS).map(|_| Ok(Mutex::new(histogram()?)));
        Ok(Self {
            shards: shards.collect::<anyhow::Result<_>>()?,
            done: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            first_error: Mutex::default(),
        })
    }

    pub(super) fn record(&self, worker: usize, took: Duration) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(shard) = self.shards.get(worker % SHARDS) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
            shard.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        }
    }

    pub(super) fn fail(&self, error: ClientError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    pub(super) fn tally(
        &self,
        clients: u64,
        connections: usize,
        took: Duration,
        nodes_micros: Option<u64>,
    ) -> anyhow::Result<Tally> {
        let mut latencies = histogram()?;
        for shard in &self.shards {
            latencies.add(&*shard.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(Tally {
            clients,
            connections,
            took,
            nodes_micros,
            errors: self.errors.load(Ordering::Relaxed),
            first_error: self.first_error.lock().unwrap_or_else(PoisonError::into_inner).take(),
            latencies,
        })
    }
}

impl Tally {
    /// Successful operations.
    pub(super) fn operations(&self) -> u64 {
        self.latencies.len()
    }

    pub(super) fn per_second(&self) -> f64 {
        self.operations() as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Processor time of all nodes for each operation, in microseconds.
    pub(super) fn nodes_micros_each(&self) -> Option<f64> {
        let micros = self.nodes_micros.filter(|_| self.operations() > 0)?;
        Some(micros as f64 / self.operations() as f64)
    }

    /// The error of a stage in which nothing succeeded.
    pub(super) fn fruitless(self) -> Option<ClientError> {
        if self.operations() == 0 { self.first_error } else { None }
    }
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, SIGNIFICANT_DIGITS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_counts() {
        let counters = Counters::new().unwrap();
        for worker in 0..100 {
            counters.record(worker, Duration::from_micros(worker as u64 + 1));
        }
        let tally = counters.tally(100, 1, Duration::from_secs(2), Some(250)).unwrap();
        assert_eq!(tally.operations(), 100);
        assert_eq!(tally.latencies.max(), 100);
        assert!((tally.per_second() - 50.0).abs() < 1e-9);
        assert_eq!(tally.nodes_micros_each(), Some(2.5));
    }
}
