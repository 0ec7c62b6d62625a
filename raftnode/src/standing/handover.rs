//! Giving leadership away: at shutdown, on request, and before the leader leaves the cluster.

use std::time::Duration;

use openraft::Instant as _;

use super::Local;
use crate::raft::{LEADER_LEASE, Metrics, NodeId, Raft};

/// How long another node may take to take over from a leader that stops, or can store nothing.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(1500);

/// Leadership did not arrive where it was meant to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    /// The other node did not take over in time.
    #[error("node {to} did not take over within {waited:?}; the cluster elects a leader by itself")]
    Timeout {
        /// Who should have.
        to: NodeId,
        /// How long was waited.
        waited: Duration,
    },
    /// Consensus has stopped.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}

/// The voter that can take over soonest: it answers, and it has most of the log. `None` if this
/// node does not lead, or no other voter answers.
#[must_use]
pub(crate) fn successor(metrics: &Metrics, except: &[NodeId]) -> Option<NodeId> {
    let replication = metrics.replication.as_ref()?;
    metrics
        .membership_config
        .voter_ids()
        .filter(|id| *id != metrics.id && !except.contains(id) && answers(metrics, *id))
        .max_by_key(|id| replication.get(id).cloned().flatten())
}

/// Whether a member has acknowledged this leader within the lease.
#[must_use]
pub(crate) fn answers(metrics: &Metrics, id: NodeId) -> bool {
    silence(metrics, id).is_some_and(|ago| ago < LEADER_LEASE)
}

/// How long ago a member has last acknowledged this leader, if it ever has.
#[must_use]
pub(crate) fn silence(metrics: &Metrics, id: NodeId) -> Option<Duration> {
    let acked = metrics.heartbeat.as_ref().and_then(|heartbeat| *heartbeat.get(&id)?);
    acked.map(|at| at.into_inner().elapsed())
}

/// Asks `to` to take over and waits until another node leads; answers who.
///
/// # Errors
/// [`HandoverError`]: this node may then still lead, or no node may.
pub(crate) async fn hand_over(raft: &Raft, to: NodeId, within: Duration) -> Result<NodeId, HandoverError> {
    let stopped = |e: &dyn std::fmt::Display| HandoverError::Stopped(e.to_string());
    let own = *raft.node_id();
    raft.trigger().transfer_leader(to).await.map_err(|e| stopped(&e))?;
    let elsewhere = |metrics: &Metrics| metrics.current_leader.is_some_and(|id| id != own);
    match raft.wait(Some(within)).metrics(elsewhere, "another leader").await {
        Ok(metrics) => Ok(metrics.current_leader.unwrap_or(to)),
        Err(openraft::metrics::WaitError::Timeout(..)) => Err(HandoverError::Timeout { to, waited: within }),
        Err(e) => Err(stopped(&e)),
    }
}

/// Lets the best successor lead, if this node does. Without this, the others would notice only by
/// their election timeout.
pub(crate) async fn give_leadership_away(local: &Local) {
    let metrics = local.metrics();
    let Some(heir) = successor(&metrics, &[]).filter(|_| metrics.state.is_leader()) else { return };
    match hand_over(&local.raft, heir, HANDOVER_TIMEOUT).await {
        Ok(leader) => tracing::info!("node {leader} has taken over leadership"),
        Err(e) => tracing::warn!("cannot hand leadership over: {e}"),
    }
}
