//! Calls to peers, as network-grpc reports them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use network_grpc::{Observer, Rpc};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::series::register;
use crate::raft::NodeId;

/// From a loopback call to a deadline.
const RPC_BUCKETS_SECONDS: [f64; 13] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Counts and times calls to peers.
pub(crate) struct NetworkMetrics {
    seconds: HistogramVec,
    failures: IntCounterVec,
    snapshot_sent: IntCounterVec,
    seen: Mutex<Seen>,
}

/// Invariant: no id is in both.
#[derive(Default)]
struct Seen {
    members: BTreeSet<NodeId>,
    /// Were members since the start. As many as an operator removes while the process runs.
    former: BTreeSet<NodeId>,
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
            seen: Mutex::default(),
        })
    }

    /// Takes over the membership: its counters are there from the start, those of former members
    /// disappear.
    pub(super) fn refresh(&self, members: impl Iterator<Item = NodeId>, own: NodeId) {
        let members: BTreeSet<_> = members.filter(|id| *id != own).collect();
        self.begin_at_zero(&members);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<_> = seen.members.difference(&members).copied().collect();
        seen.former.extend(left);
        seen.former.retain(|id| !members.contains(id));
        // Every time, because a call that was under way may have counted after the last.
        seen.former.iter().for_each(|id| self.forget(*id));
        seen.members = members;
    }

    fn forget(&self, peer: NodeId) {
        let peer = &*peer.to_string();
        // An error means that there is none.
        let _ = self.snapshot_sent.remove_label_values(&[peer]);
        for rpc in Rpc::ALL {
            let _ = self.seconds.remove_label_values(&[rpc.as_str(), peer]);
            let _ = self.failures.remove_label_values(&[rpc.as_str(), peer]);
        }
    }

    /// Counters of every member are there before there is anything to count, so that the first
    /// failure shows as one.
    fn begin_at_zero(&self, members: &BTreeSet<NodeId>) {
        for peer in members.iter().map(ToString::to_string) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Found: a node that had been replaced stayed in every table and panel until the others were
    /// restarted.
    #[test]
    fn a_member_that_leaves_takes_its_series_along() {
        let registry = Registry::new();
        let metrics = NetworkMetrics::new(&registry).unwrap();
        let call = |peer| metrics.rpc(Rpc::Append, peer, Duration::from_millis(1), false);
        let shown = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        metrics.refresh([1, 2, 3].into_iter(), 1);
        call("2");
        call("3");
        assert!(shown().contains("peer=\"3\"") && !shown().contains("peer=\"1\""), "{}", shown());
        metrics.refresh([1, 2].into_iter(), 1);
        assert!(shown().contains("peer=\"2\"") && !shown().contains("peer=\"3\""), "{}", shown());
        // A call that was under way ends late.
        call("3");
        metrics.refresh([1, 2].into_iter(), 1);
        assert!(!shown().contains("peer=\"3\""), "{}", shown());
        // And it may come back.
        metrics.refresh([1, 2, 3].into_iter(), 1);
        metrics.refresh([1, 2, 3].into_iter(), 1);
        assert!(shown().contains("network_rpc_failures_total{peer=\"3\",rpc=\"append\"} 0"), "{}", shown());
    }
}
