//! The last 15 minutes of the whole cluster, in steps of one sample.
//!
//! Requests are added up over the nodes that have told of them: a node counts what clients asked
//! it. What a node counted before it went away, and before this node was asked for its page, is
//! not known here.

use std::collections::BTreeMap;

use proto::node::v1 as pb;
use serde::Serialize;

use super::peers::{Peer, PeerReports};
use crate::history::{
    DISK_BOUNDS_SECONDS, MAX_SAMPLES, REQUEST_BOUNDS_SECONDS, SAMPLE_INTERVAL, quantile, unix_millis,
};
use crate::raft::NodeId;

/// A sample is late by a look of its node at the clock and a question of this one.
const LATENESS_MS: u64 = 1500;
/// Samples that make up "now": ten seconds.
const RECENT_SAMPLES: usize = 2;

/// Per step, oldest first; `null` where nothing is known, or nothing was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClusterSeries {
    interval_ms: u64,
    /// The end of the last step, in milliseconds since 1970.
    end_unix_ms: u64,
    write: Requests,
    read: Requests,
    /// By node.
    sync: BTreeMap<NodeId, Latency>,
    apply: BTreeMap<NodeId, Latency>,
}

#[derive(Debug, Default, Serialize)]
struct Requests {
    per_second: Vec<Option<f64>>,
    #[serde(flatten)]
    latency: Latency,
}

#[derive(Debug, Default, Serialize)]
struct Latency {
    p50_ms: Vec<Option<f64>>,
    p99_ms: Vec<Option<f64>>,
}

/// What a node did in the last ten seconds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Recent {
    write_per_second: Option<f64>,
    read_per_second: Option<f64>,
    sync_p50_ms: Option<f64>,
    sync_p99_ms: Option<f64>,
    apply_p50_ms: Option<f64>,
    apply_p99_ms: Option<f64>,
}

/// The samples of one step, of one node or several.
type Step<'a> = Vec<&'a pb::Sample>;
/// One of the counts of a sample.
type Counts = fn(&pb::Sample) -> &[u32];

const WRITE: Counts = |sample| &sample.write;
const READ: Counts = |sample| &sample.read;
const SYNC: Counts = |sample| &sample.sync;
const APPLY: Counts = |sample| &sample.apply;

impl ClusterSeries {
    pub(super) fn of(peers: &PeerReports) -> Self {
        let peers: Vec<_> = peers.iter().collect();
        let last_slot = slot(unix_millis().saturating_sub(LATENESS_MS));
        let all = steps(last_slot, peers.iter().flat_map(|(_, peer)| &peer.samples));
        let requests = |counts| Requests {
            per_second: all.iter().map(|step| per_second(step, counts)).collect(),
            latency: Latency::of(&all, REQUEST_BOUNDS_SECONDS, counts),
        };
        let by_node = |counts| {
            let latency =
                |peer: &Peer| Latency::of(&steps(last_slot, &peer.samples), DISK_BOUNDS_SECONDS, counts);
            peers.iter().map(|(id, peer)| (*id, latency(peer))).collect()
        };
        Self {
            interval_ms: interval_ms(),
            end_unix_ms: last_slot * interval_ms(),
            write: requests(WRITE),
            read: requests(READ),
            sync: by_node(SYNC),
            apply: by_node(APPLY),
        }
    }
}

impl Latency {
    fn of(steps: &[Step<'_>], bounds: &[f64], counts: Counts) -> Self {
        let all = |q: f64| steps.iter().map(|step| quantile_ms(step, bounds, counts, q)).collect();
        Self { p50_ms: all(0.5), p99_ms: all(0.99) }
    }
}

impl Recent {
    /// Of a node that answers; what it did long ago is not what it does now.
    pub(super) fn of(peer: &Peer) -> Self {
        let oldest = unix_millis().saturating_sub((RECENT_SAMPLES as u64 + 1) * interval_ms());
        let recent = peer.samples.iter().rev().take(RECENT_SAMPLES);
        let step: Step<'_> = recent.filter(|sample| sample.at_unix_ms >= oldest).collect();
        let rate = |counts: Counts| mean_per_second(&step, counts);
        let disk = |counts, q| quantile_ms(&step, DISK_BOUNDS_SECONDS, counts, q);
        Self {
            write_per_second: rate(WRITE),
            read_per_second: rate(READ),
            sync_p50_ms: disk(SYNC, 0.5),
            sync_p99_ms: disk(SYNC, 0.99),
            apply_p50_ms: disk(APPLY, 0.5),
            apply_p99_ms: disk(APPLY, 0.99),
        }
    }
}

/// The samples that belong to each of the steps up to `last_slot`.
fn steps<'a>(last_slot: u64, samples: impl IntoIterator<Item = &'a pb::Sample>) -> Vec<Step<'a>> {
    let first_slot = (last_slot + 1).saturating_sub(MAX_SAMPLES as u64);
    let mut steps: Vec<Step<'_>> = vec![Vec::new(); MAX_SAMPLES];
    for sample in samples {
        let place =
            slot(sample.at_unix_ms).checked_sub(first_slot).and_then(|place| usize::try_from(place).ok());
        if let Some(step) = place.and_then(|place| steps.get_mut(place)) {
            step.push(sample);
        }
    }
    steps
}

/// Over nodes that counted at the same time: the sum of their rates.
fn per_second(step: &Step<'_>, counts: Counts) -> Option<f64> {
    let rates = step.iter().map(|sample| total(sample, counts) * 1000.0 / f64::from(sample.span_ms.max(1)));
    (!step.is_empty()).then(|| rounded(rates.sum()))
}

/// Over samples of one node that follow each other: the mean.
fn mean_per_second(step: &Step<'_>, counts: Counts) -> Option<f64> {
    let seconds: f64 = step.iter().map(|sample| f64::from(sample.span_ms.max(1)) / 1000.0).sum();
    let sum: f64 = step.iter().map(|sample| total(sample, counts)).sum();
    (!step.is_empty()).then(|| rounded(sum / seconds))
}

fn total(sample: &pb::Sample, counts: Counts) -> f64 {
    counts(sample).iter().map(|count| f64::from(*count)).sum()
}

fn quantile_ms(step: &Step<'_>, bounds: &[f64], counts: Counts, q: f64) -> Option<f64> {
    let mut sums = vec![0_u64; bounds.len() + 1];
    for sample in step {
        for (sum, count) in sums.iter_mut().zip(counts(sample)) {
            *sum += u64::from(*count);
        }
    }
    quantile(bounds, &sums, q).map(|time| rounded(time.as_secs_f64() * 1000.0))
}

/// Digits that are not shown are not sent.
fn rounded(value: f64) -> f64 {
    // The sum of nothing is -0.
    (value * 1000.0).round() / 1000.0 + 0.0
}

fn slot(unix_ms: u64) -> u64 {
    unix_ms / interval_ms().max(1)
}

fn interval_ms() -> u64 {
    u64::try_from(SAMPLE_INTERVAL.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_unix_ms: u64, in_bucket: usize, count: u32) -> pb::Sample {
        let mut write = vec![0; REQUEST_BOUNDS_SECONDS.len() + 1];
        write[in_bucket] = count;
        pb::Sample { at_unix_ms, span_ms: 5000, write, ..pb::Sample::default() }
    }

    #[test]
    fn nodes_are_added_up_step_by_step() {
        let last = 1_000_000;
        let (one, two) = (sample(last * 5000 + 100, 0, 50), sample(last * 5000 + 200, 3, 50));
        let old = sample((last - 1) * 5000, 0, 10);
        let (ancient, future) = (sample(1, 0, 1), sample((last + 1) * 5000, 0, 1));
        let steps = steps(last, [&old, &one, &two, &ancient, &future]);
        assert_eq!(steps.len(), MAX_SAMPLES);
        let rates: Vec<_> = steps.iter().rev().take(3).map(|step| per_second(step, WRITE)).collect();
        assert_eq!(rates, [Some(20.0), Some(2.0), None]);
        let newest = steps.last().unwrap();
        assert_eq!(quantile_ms(newest, REQUEST_BOUNDS_SECONDS, WRITE, 0.5), Some(0.1));
        assert_eq!(quantile_ms(newest, REQUEST_BOUNDS_SECONDS, WRITE, 1.0), Some(1.0));
        assert_eq!(quantile_ms(newest, REQUEST_BOUNDS_SECONDS, READ, 0.5), None);
    }
}
