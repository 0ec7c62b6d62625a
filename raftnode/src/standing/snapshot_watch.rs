//! Bounds the log in bytes: openraft counts entries, and an entry may carry a thousand commands. A
//! snapshot is built when much was applied since the last, and of what lies behind one no more is
//! kept than followers that were briefly away need.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::LogIdOptionExt as _;

use super::Local;

/// A snapshot is built once this much was applied since the last.
const LOG_BYTES_BETWEEN_SNAPSHOTS: u64 = 64 * 1024 * 1024;
/// Of what was applied before a snapshot this much stays in the log, or fewer entries.
const KEPT_BEHIND_SNAPSHOT_BYTES: u64 = 128 * 1024 * 1024;
/// How exactly that is known.
const SAMPLE_BYTES: u64 = 4 * 1024 * 1024;
/// How often both are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How many bytes had been applied up to some entries, the oldest first.
///
/// Invariants: both numbers ascend; two samples are [`SAMPLE_BYTES`] apart at least; all but the
/// first are within [`KEPT_BEHIND_SNAPSHOT_BYTES`] of the last, so there are few.
#[derive(Default)]
struct Samples(VecDeque<Sample>);

#[derive(Clone, Copy)]
struct Sample {
    index: u64,
    bytes: u64,
}

impl Samples {
    fn note(&mut self, index: u64, bytes: u64) {
        if self.0.back().is_none_or(|last| bytes - last.bytes >= SAMPLE_BYTES) {
            self.0.push_back(Sample { index, bytes });
        }
        while self.0.get(1).is_some_and(|second| is_old(second, bytes)) {
            self.0.pop_front();
        }
    }

    /// The last entry that need not be kept for its bytes' sake.
    fn end_of_old(&self, bytes: u64) -> Option<u64> {
        self.0.front().filter(|first| is_old(first, bytes)).map(|first| first.index)
    }
}

fn is_old(sample: &Sample, bytes: u64) -> bool {
    bytes - sample.bytes >= KEPT_BEHIND_SNAPSHOT_BYTES
}

/// Watches until the node ends. `applied_bytes`: of all batches applied since the start.
pub(crate) async fn watch_snapshots(local: Arc<Local>, applied_bytes: Arc<AtomicU64>) {
    let (mut last, mut bytes_then) = (None, 0);
    let mut samples = Samples::default();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        // The index first: what is applied meanwhile counts for later entries.
        let (snapshot, purged, applied) = local
            .with_metrics(|metrics| (metrics.snapshot, metrics.purged.index(), metrics.last_applied.index()));
        let bytes = applied_bytes.load(Ordering::Relaxed);
        samples.note(applied.unwrap_or_default(), bytes);
        let trigger = local.raft.trigger();
        let mut done = Ok(());
        if snapshot != last {
            (last, bytes_then) = (snapshot, bytes);
        } else if bytes - bytes_then >= LOG_BYTES_BETWEEN_SNAPSHOTS {
            bytes_then = bytes;
            done = trigger.snapshot().await;
        }
        let end = samples.end_of_old(bytes).map(|end| end.min(snapshot.index().unwrap_or_default()));
        if let Some(end) = end.filter(|end| *end > purged.unwrap_or_default()) {
            done = done.and(trigger.purge_log(end).await);
        }
        if done.is_err() {
            // Consensus has stopped.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_lies_far_behind_in_bytes_is_old_and_few_samples_tell_it() {
        let mut samples = Samples::default();
        // Entries of 1 MiB.
        for index in 0..=1000 {
            samples.note(index, index * MIB);
            let end = samples.end_of_old(index * MIB);
            let kept = index - end.unwrap_or_default();
            assert!(kept <= 128 + 4, "{kept} MiB are kept");
            assert_eq!(end.is_some(), index >= 128, "at {index}");
            assert!(samples.0.len() <= 34, "{} samples", samples.0.len());
        }
        // Small ones: openraft's own limit comes first.
        samples.note(5000, 1001 * MIB);
        assert!(samples.end_of_old(1001 * MIB).is_some_and(|end| end <= 1000));
    }
}
