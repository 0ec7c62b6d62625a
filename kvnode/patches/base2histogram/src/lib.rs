//! Stands in for the crate base2histogram 0.2.3, in what openraft uses of it.
//!
//! openraft counts in such histograms how large its batches are and how long an entry takes; they
//! can be read where its feature `runtime-stats` is on, which it is not here. The crate itself
//! computes tables for 16 precisions when the first histogram is made, 26 MiB of which one table is
//! used: more than the rest of an idle kvnode. This one needs no tables, because its buckets are
//! the powers of two. Used through `[patch.crates-io]` in the workspace's `Cargo.toml`, so only by
//! programs that are built there; to be removed when the crate makes only the tables it needs.

mod chart;
mod percentiles;

pub use chart::{AsciiChart, Chart};
pub use percentiles::PercentileStats;

use std::marker::PhantomData;

/// Bucket 0 has the value 0, bucket *n* the values from 2ⁿ⁻¹ to below 2ⁿ.
const BUCKETS: usize = u64::BITS as usize + 1;

/// How often values were recorded, by the power of two below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    /// The crate can label periods; openraft does not.
    label: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: [0; BUCKETS], label: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(counted) = self.counts.get_mut(bucket) {
            *counted = counted.saturating_add(count);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The smallest value that the bucket of the given part of all values, in thousandths, can
    /// have; 0 of none.
    #[must_use]
    pub fn permille(&self, part: u64) -> u64 {
        let rank = self.total().saturating_mul(part).div_ceil(1000).max(1);
        let mut counted = 0_u64;
        for (least, count) in self.buckets() {
            counted = counted.saturating_add(count);
            if counted >= rank {
                return least;
            }
        }
        0
    }

    /// The usual percentiles.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.permille(1),
            p1: self.permille(10),
            p5: self.permille(50),
            p10: self.permille(100),
            p50: self.permille(500),
            p90: self.permille(900),
            p99: self.permille(990),
            p99_9: self.permille(999),
        }
    }

    /// The smallest value of each bucket, and how many values are in it.
    fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let least = |bucket: u32| bucket.checked_sub(1).map_or(0, |power| 1_u64 << power);
        (0..).map(least).zip(self.counts)
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_below_its_power_of_two() {
        let mut histogram = Histogram::<()>::new();
        for (value, least) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 4), (1000, 512), (u64::MAX, 1 << 63)] {
            let mut one = Histogram::<()>::new();
            one.record(value);
            assert_eq!((one.total(), one.permille(500)), (1, least), "{value}");
            histogram.record(value);
        }
        assert_eq!(histogram.total(), 7);
    }

    #[test]
    fn percentiles_count_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p99_9, 0);
        histogram.record_n(8, 90);
        histogram.record_n(64, 9);
        histogram.record(1024);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90, stats.p99, stats.p99_9), (100, 8, 8, 64, 1024));
    }
}
