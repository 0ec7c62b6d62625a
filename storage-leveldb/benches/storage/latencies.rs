//! How long things took.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longest time told from a longer one.
const MAX_MICROS: u64 = 3_600_000_000;

/// Times of one kind of operation, shared by those who do it.
pub(crate) struct Latencies(Mutex<Histogram<u64>>);

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(MAX_MICROS, 3).unwrap()
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Mutex::new(histogram()))
    }
}

impl Latencies {
    /// `count` operations began together at `since`, or were meant to, and are done now.
    pub(crate) fn since(&self, since: Instant, count: u64) {
        self.record(since.elapsed(), count);
    }

    pub(crate) fn record(&self, took: Duration, count: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MAX_MICROS).clamp(1, MAX_MICROS);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record_n(micros, count);
    }

    /// What has been recorded since the last call.
    pub(crate) fn take(&self) -> Summary {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Summary(std::mem::replace(&mut recorded, histogram()))
    }
}

/// Times that are complete.
#[derive(Clone)]
pub(crate) struct Summary(Histogram<u64>);

impl Summary {
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1e3 }
    }

    pub(crate) fn sum_ms(&self) -> f64 {
        self.0
            .iter_recorded()
            .map(|value| value.value_iterated_to() as f64 * value.count_at_value() as f64)
            .sum::<f64>()
            / 1e3
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.quantile_ms(1.0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).unwrap();
    }

    /// Count, p50, p99, p99.9 and the longest, as cells of a table.
    pub(crate) fn cells(&self, name: &str) -> [String; 6] {
        let ms = |value: f64| format!("{value:.2} ms");
        [
            name.to_owned(),
            self.count().to_string(),
            ms(self.quantile_ms(0.5)),
            ms(self.quantile_ms(0.99)),
            ms(self.quantile_ms(0.999)),
            ms(self.max_ms()),
        ]
    }
}

/// The header of [`Summary::cells`].
pub(crate) const HEADER: [&str; 6] = ["wait", "count", "p50", "p99", "p99.9", "longest"];
