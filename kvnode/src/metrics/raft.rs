//! Consensus, read from openraft's own metrics at the time of a scrape.

use openraft::LogIdOptionExt as _;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::registry::register;
use crate::raft::{Metrics, committed_end};

/// Gauges of the consensus core.
pub struct RaftMetrics {
    is_leader: IntGauge,
    leader_id: IntGauge,
    term: IntGauge,
    last_log_index: IntGauge,
    committed_index: IntGauge,
    applied_index: IntGauge,
    lag: IntGaugeVec,
    /// Raised whenever another leader, or the same one in another term, is seen.
    pub leader_changes: IntCounter,
}

impl RaftMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let lag = Opts::new(
            "raft_replication_lag_entries",
            "Log entries a peer has not acknowledged yet; on the leader only.",
        );
        let changes =
            IntCounter::new("raft_leader_changes_total", "Leaders this node has seen come to power.")?;
        Ok(Self {
            is_leader: gauge("raft_is_leader", "1 if this node leads, else 0.")?,
            leader_id: gauge("raft_leader_id", "The leader this node knows of; 0: none.")?,
            term: gauge("raft_term", "The current term.")?,
            last_log_index: gauge("raft_last_log_index", "Index of the last entry in this node's log.")?,
            committed_index: gauge(
                "raft_committed_index",
                "Index of the last entry this node knows to be committed.",
            )?,
            applied_index: gauge(
                "raft_applied_index",
                "Index of the last entry applied to this node's state.",
            )?,
            lag: register(registry, IntGaugeVec::new(lag, &["peer"])?)?,
            leader_changes: register(registry, changes)?,
        })
    }

    /// Takes over what openraft says now.
    pub fn refresh(&self, now: &Metrics) {
        let leads = now.state.is_leader();
        self.is_leader.set(i64::from(leads));
        self.leader_id.set(signed(now.current_leader.unwrap_or_default()));
        self.term.set(signed(now.current_term));
        self.last_log_index.set(signed(now.last_log_index.unwrap_or_default()));
        self.committed_index.set(signed(committed_end(now).saturating_sub(1)));
        self.applied_index.set(signed(now.last_applied.index().unwrap_or_default()));
        self.refresh_lag(now);
    }

    /// Peers that have left, and all of them once this node no longer leads, disappear.
    fn refresh_lag(&self, now: &Metrics) {
        self.lag.reset();
        let next = now.last_log_index.map_or(0, |index| index + 1);
        for (peer, matched) in now.replication.iter().flatten().filter(|(peer, _)| **peer != now.id) {
            let lag = next.saturating_sub(matched.next_index());
            self.lag.with_label_values(&[&peer.to_string()]).set(signed(lag));
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
