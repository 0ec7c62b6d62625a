//! Samples: the differences between two looks at the histograms.

use std::time::{Duration, Instant};

use prometheus::Histogram;
use prometheus::core::Metric as _;
use proto::node::v1 as pb;
use storage_leveldb::observer::Db;

use super::store::unix_millis;
use crate::metrics::{DISK_BUCKETS_SECONDS, Metrics, OpKind, REQUEST_BUCKETS_SECONDS};

/// Upper bounds of the counts of requests; one more count is above all of them.
pub(crate) const REQUEST_BOUNDS_SECONDS: &[f64] = &REQUEST_BUCKETS_SECONDS;
/// The same of syncs and applies.
pub(crate) const DISK_BOUNDS_SECONDS: &[f64] = &DISK_BUCKETS_SECONDS;

/// The last look.
pub(super) struct Meter {
    at: Instant,
    write: Vec<u64>,
    read: Vec<u64>,
    sync: Vec<u64>,
    apply: Vec<u64>,
}

impl Meter {
    pub(super) fn read(metrics: &Metrics) -> Self {
        let requests = |kind| sum(metrics.requests.durations(kind).map(|histogram| counts(&histogram)));
        Self {
            at: Instant::now(),
            write: requests(OpKind::Write),
            read: requests(OpKind::Read),
            sync: counts(metrics.storage.syncs(Db::Log)),
            apply: counts(metrics.storage.applies()),
        }
    }

    /// What happened between this look and `now`.
    pub(super) fn until(&self, now: &Self) -> pb::Sample {
        pb::Sample {
            number: 0,
            at_unix_ms: unix_millis(),
            span_ms: u32::try_from(now.at.duration_since(self.at).as_millis()).unwrap_or(u32::MAX),
            write: difference(&self.write, &now.write),
            read: difference(&self.read, &now.read),
            sync: difference(&self.sync, &now.sync),
            apply: difference(&self.apply, &now.apply),
        }
    }
}

/// Observations in each bucket, the last one above every bound.
fn counts(histogram: &Histogram) -> Vec<u64> {
    let metric = histogram.metric();
    let histogram = metric.get_histogram();
    let mut below = 0;
    let mut counts: Vec<_> = histogram
        .get_bucket()
        .iter()
        .map(|bucket| bucket.cumulative_count() - std::mem::replace(&mut below, bucket.cumulative_count()))
        .collect();
    counts.push(histogram.get_sample_count().saturating_sub(below));
    counts
}

/// Counts of the same buckets, added up.
fn sum(counts: impl Iterator<Item = Vec<u64>>) -> Vec<u64> {
    let add = |sum: Vec<u64>, counts: Vec<u64>| sum.iter().zip(&counts).map(|(a, b)| a + b).collect();
    counts.reduce(add).unwrap_or_default()
}

/// Nothing counted is an empty list, which costs nothing to keep and to send.
fn difference(before: &[u64], after: &[u64]) -> Vec<u32> {
    let grown = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before));
    let grown: Vec<_> = grown.map(|count| u32::try_from(count).unwrap_or(u32::MAX)).collect();
    if grown.iter().all(|count| *count == 0) { Vec::new() } else { grown }
}

/// The time within which a share `q` of the observations ended, interpolated within a bucket;
/// `None` if there are none. What lies above every bound is taken for the greatest bound.
#[must_use]
pub(crate) fn quantile(bounds: &[f64], counts: &[u64], q: f64) -> Option<Duration> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = as_float(total) * q;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in counts.iter().zip(bounds) {
        let count = as_float(*count);
        if count > 0.0 && below + count >= wanted {
            let share = ((wanted - below) / count).clamp(0.0, 1.0);
            return Some(Duration::from_secs_f64(lower + (upper - lower) * share));
        }
        (below, lower) = (below + count, *upper);
    }
    Some(Duration::from_secs_f64(lower))
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;
    use crate::metrics::{Op, Origin};

    #[test]
    fn a_sample_is_what_happened_in_between() {
        let (put, delete) = (Op::new("put", OpKind::Write), Op::new("delete", OpKind::Write));
        let metrics = Metrics::new(Program { name: "app", version: "1" }, 1, "test", &[put, delete]).unwrap();
        let write = |op, micros| {
            metrics.requests.answered(op, Origin::Client, tonic::Code::Ok, Duration::from_micros(micros));
        };
        write(put, 50);
        let before = Meter::read(&metrics);
        [(put, 200), (delete, 200), (put, 20_000_000)].into_iter().for_each(|(op, micros)| write(op, micros));
        let sample = before.until(&Meter::read(&metrics));
        assert_eq!(sample.write.len(), REQUEST_BOUNDS_SECONDS.len() + 1);
        assert_eq!((sample.write[0], sample.write[1], sample.write[REQUEST_BOUNDS_SECONDS.len()]), (0, 2, 1));
        assert!(sample.read.is_empty() && sample.sync.is_empty());
    }

    #[test]
    fn quantiles_are_interpolated() {
        let bounds = [1.0, 2.0, 4.0];
        let at = |counts: &[u64], q| quantile(&bounds, counts, q).map(|time| time.as_secs_f64());
        assert_eq!(at(&[0, 10, 0, 0], 0.5), Some(1.5));
        assert_eq!(at(&[10, 0, 10, 0], 0.75), Some(3.0));
        assert_eq!(at(&[0, 0, 0, 7], 0.5), Some(4.0));
        assert_eq!(at(&[0, 0, 0, 0], 0.5), None);
        assert_eq!(at(&[], 0.5), None);
    }
}
