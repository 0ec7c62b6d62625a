//! Consensus, read from openraft's own metrics at the time of a scrape.

use std::time::Duration;

use openraft::LogIdOptionExt as _;
use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::peers::PeerGauges;
use super::series::{count, register, signed};
use crate::raft::{Metrics, committed_end};

/// Gauges of the consensus core.
pub(crate) struct RaftMetrics {
    is_leader: IntGauge,
    leader_id: IntGauge,
    leader_silence: Gauge,
    term: IntGauge,
    last_log_index: IntGauge,
    committed_index: IntGauge,
    applied_index: IntGauge,
    apply_lag: IntGauge,
    snapshot_index: IntGauge,
    purged_index: IntGauge,
    voters: IntGauge,
    learners: IntGauge,
    pub(super) joint: IntGauge,
    pub(super) problems: IntGauge,
    peers: PeerGauges,
    /// Raised whenever another leader, or the same one in another term, is seen.
    pub leader_changes: IntCounter,
}

/// What openraft does not say: it names a dead leader until another term begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaderLife {
    /// Whether a leader is known to be alive.
    pub alive: bool,
    /// How long none has been known to be.
    pub silence: Duration,
}

impl RaftMetrics {
    pub(super) fn new(registry: &Registry, application: &str) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        let silence = Gauge::new(
            "raft_leader_silence_seconds",
            "Time since this node last knew a leader to be alive; since its start if it never has.",
        )?;
        let changes =
            IntCounter::new("raft_leader_changes_total", "Leaders this node has seen come to power.")?;
        Ok(Self {
            is_leader: gauge("raft_is_leader", "1 if this node leads and a majority confirms it, else 0.")?,
            leader_id: gauge("raft_leader_id", "The live leader this node knows of; 0: none.")?,
            leader_silence: register(registry, silence)?,
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
            apply_lag: gauge(
                "raft_apply_lag_entries",
                "Entries this node knows to be committed and has not applied yet.",
            )?,
            snapshot_index: gauge(
                "raft_snapshot_index",
                "Index of the last entry in this node's newest snapshot; 0: none.",
            )?,
            purged_index: gauge(
                "raft_purged_index",
                "Entries up to this index are deleted from this node's log; 0: none.",
            )?,
            voters: gauge("raft_membership_voters", "Voters in the membership this node knows.")?,
            learners: gauge("raft_membership_learners", "Learners in the membership this node knows.")?,
            joint: gauge(
                "raft_membership_joint",
                "1 while a change of the voters has begun and not ended, as far as this node knows, else 0.",
            )?,
            problems: gauge(
                &format!("{application}_node_problems"),
                "What is not well about this node, counted: what /readyz, kvcli cluster status and the status page name.",
            )?,
            peers: PeerGauges::new(registry)?,
            leader_changes: register(registry, changes)?,
        })
    }

    /// Takes over what openraft says now.
    pub(crate) fn refresh(&self, now: &Metrics, leader: LeaderLife) {
        self.refresh_leader(now, leader);
        let (committed, applied) = (committed_end(now), now.last_applied.next_index());
        self.last_log_index.set(signed(now.last_log_index.unwrap_or_default()));
        self.committed_index.set(signed(committed.saturating_sub(1)));
        self.applied_index.set(signed(applied.saturating_sub(1)));
        self.apply_lag.set(signed(committed.saturating_sub(applied)));
        self.snapshot_index.set(signed(now.snapshot.index().unwrap_or_default()));
        self.purged_index.set(signed(now.purged.index().unwrap_or_default()));
        let membership = now.membership_config.membership();
        self.voters.set(count(membership.voter_ids()));
        self.learners.set(count(membership.learner_ids()));
        self.peers.refresh(now);
    }

    fn refresh_leader(&self, now: &Metrics, leader: LeaderLife) {
        let known = now.current_leader.filter(|_| leader.alive);
        self.is_leader.set(i64::from(now.state.is_leader() && leader.alive));
        self.leader_id.set(signed(known.unwrap_or_default()));
        self.leader_silence.set(if leader.alive { 0.0 } else { leader.silence.as_secs_f64() });
        self.term.set(signed(now.current_term));
    }
}
