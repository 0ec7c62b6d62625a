//! What a leader knows of each peer; no series on other nodes.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use openraft::{Instant as _, LogIdOptionExt as _};
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};
use proto::node::v1 as pb;

use super::series::{count, register, signed};
use crate::raft::{Metrics, NodeId};
use crate::standing::answers;

/// Gauges with a series for each peer.
///
/// Invariant: `shown` names exactly the peers that have series.
pub(super) struct PeerGauges {
    lag: IntGaugeVec,
    silence: GaugeVec,
    shown: Mutex<BTreeSet<NodeId>>,
}

impl PeerGauges {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let lag = Opts::new(
            "raft_replication_lag_entries",
            "Log entries a peer has not acknowledged yet; on the leader, for peers that answer it.",
        );
        let silence = Opts::new(
            "raft_peer_silence_seconds",
            "Time since a peer last acknowledged this leader; on the leader only, once it has.",
        );
        Ok(Self {
            lag: register(registry, IntGaugeVec::new(lag, &["peer"])?)?,
            silence: register(registry, GaugeVec::new(silence, &["peer"])?)?,
            shown: Mutex::default(),
        })
    }

    /// Peers that have left, and all of them once this node no longer leads, disappear. The others
    /// keep their series throughout, so that a scrape at the same time misses none.
    pub(super) fn refresh(&self, now: &Metrics) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let next = now.last_log_index.map_or(0, |index| index + 1);
        let mut present = BTreeSet::new();
        for (peer, matched) in now.replication.iter().flatten().filter(|(peer, _)| **peer != now.id) {
            present.insert(*peer);
            if !answers(now, *peer) {
                // What it has is not known. It has no series to remove if it never had one.
                let _ = self.lag.remove_label_values(&[&peer.to_string()]);
                continue;
            }
            // Both can be read between two steps of the core.
            let lag = next.saturating_sub(matched.next_index());
            self.lag.with_label_values(&[&peer.to_string()]).set(signed(lag));
        }
        for (peer, acked) in now.heartbeat.iter().flatten().filter(|(peer, _)| present.contains(*peer)) {
            let Some(acked) = acked else { continue };
            let silence = acked.into_inner().elapsed().as_secs_f64();
            self.silence.with_label_values(&[&peer.to_string()]).set(silence);
        }
        for gone in shown.difference(&present) {
            // A peer that has never acknowledged has no silence to remove.
            let _ = self.lag.remove_label_values(&[&gone.to_string()]);
            let _ = self.silence.remove_label_values(&[&gone.to_string()]);
        }
        *shown = present;
    }
}

/// What the judgement about the cluster says of each member, on the leader; no series on other
/// nodes.
pub(crate) struct MemberGauges {
    problems: IntGaugeVec,
}

impl MemberGauges {
    pub(super) fn new(registry: &Registry, application: &str) -> prometheus::Result<Self> {
        let help =
            "What is not well about a member, counted, as kvcli cluster status names it; on the leader only.";
        let opts = Opts::new(format!("{application}_member_problems"), help);
        Ok(Self { problems: register(registry, IntGaugeVec::new(opts, &["peer"])?)? })
    }

    /// `None`: this node does not lead.
    pub(crate) fn refresh(&self, health: Option<&pb::HealthResponse>) {
        self.problems.reset();
        for judged in health.iter().flat_map(|health| &health.members) {
            let id = judged.member.as_ref().map_or(0, |member| member.id);
            self.problems.with_label_values(&[&id.to_string()]).set(count(judged.problems.iter()));
        }
    }
}
