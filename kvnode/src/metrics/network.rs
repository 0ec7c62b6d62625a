//! Calls to peers, as network-grpc reports them.

use std::time::Duration;

use network_grpc::{Observer, Rpc};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::registry::register;
use crate::raft::NodeId;

/// From a loopback call to a deadline.
const RPC_BUCKETS_SECONDS: [f64; 13] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Counts and times calls to peers.
pub struct NetworkMetrics {
    seconds: HistogramVec,
    failures: IntCounterVec,
    snapshot_sent: IntCounterVec,
}

impl NetworkMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = HistogramOpts::new(
            "network_rpc_duration_seconds",
            "Time of one call to a peer, failed ones too.",
        )
        .buckets(RPC_BUCKETS_SECONDS.to_vec());
        let failures = Opts::new("network_rpc_failures_total", "Calls to a peer that got no answer.");
        let sent = Opts::new("snapshot_sent_bytes_total", "Snapshot bytes sent to a peer.");
        Ok(Self {
            seconds: register(registry, HistogramVec::new(seconds, &["rpc", "peer"])?)?,
            failures: register(registry, IntCounterVec::new(failures, &["rpc", "peer"])?)?,
            snapshot_sent: register(registry, IntCounterVec::new(sent, &["peer"])?)?,
        })
    }

    /// Counters of every member are there before there is anything to count, so that the first failure shows as one.
    pub(super) fn begin_at_zero(&self, members: impl Iterator<Item = NodeId>, own: NodeId) {
        for peer in members.filter(|id| *id != own).map(|id| id.to_string()) {
            self.snapshot_sent.with_label_values(&[&peer]);
            for rpc in Rpc::ALL {
                self.failures.with_label_values(&[rpc.as_str(), &peer]);
            }
        }
    }
}

impl Observer for NetworkMetrics {
    fn rpc(&self, rpc: Rpc, peer: &str, took: Duration, ok: bool) {
        let labels = [rpc.as_str(), peer];
        self.seconds.with_label_values(&labels).observe(took.as_secs_f64());
        if !ok {
            self.failures.with_label_values(&labels).inc();
        }
    }

    fn snapshot_sent(&self, peer: &str, bytes: u64) {
        self.snapshot_sent.with_label_values(&[peer]).inc_by(bytes);
    }
}
