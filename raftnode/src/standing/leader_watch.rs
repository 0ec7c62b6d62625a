//! Whether a leader is alive.
//!
//! openraft's `current_leader` names the last leader until another term begins. With pre-vote a
//! minority never begins one, so a node cut off from the others would name a dead leader for ever.
//! This task looks at when the leader was last heard from instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver as _;

use crate::raft::{ELECTION_TIMEOUT_MAX, LEADER_LEASE, Metrics, NodeId, Raft};

/// How often the task looks.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// A follower that has heard nothing for this long has no leader: by then the old leader's lease
/// has run out, and two elections could have been held.
const FOLLOWER_PATIENCE: Duration = LEADER_LEASE.saturating_add(ELECTION_TIMEOUT_MAX.saturating_mul(2));

/// When a leader was last known to be alive. Cheap to clone; clones share one clock.
#[derive(Debug, Clone)]
pub(crate) struct LeaderWatch {
    started: Instant,
    // Milliseconds after `started`; 0: never.
    last_alive: Arc<AtomicU64>,
    // The same of when another leader, or the same in another term, was first seen.
    last_change: Arc<AtomicU64>,
}

impl Default for LeaderWatch {
    /// Silence counts from now on: a node that starts is given time to find a leader.
    fn default() -> Self {
        Self { started: Instant::now(), last_alive: Arc::default(), last_change: Arc::default() }
    }
}

impl LeaderWatch {
    /// How long no leader has been known to be alive.
    #[must_use]
    pub(crate) fn silence(&self) -> Duration {
        let last_alive = Duration::from_millis(self.last_alive.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last_alive)
    }

    /// Whether the leader has only just come to power: it may not have heard from every member yet.
    #[must_use]
    pub(crate) fn is_fresh(&self) -> bool {
        let last_change = Duration::from_millis(self.last_change.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last_change) < LEADER_LEASE
    }

    /// Whether there is a leader now. A leader counts as alive for a moment longer than it is heard
    /// from, so that one late heartbeat is no news.
    #[must_use]
    pub(crate) fn is_alive(&self) -> bool {
        self.last_alive.load(Ordering::Relaxed) > 0 && self.silence() < SAMPLE_INTERVAL * 5
    }

    /// Whether there was a leader and it has been gone for longer than an election takes.
    #[must_use]
    pub(crate) fn has_lost_leader(&self) -> bool {
        self.last_alive.load(Ordering::Relaxed) > 0 && !self.is_alive()
    }

    /// Looks at `raft` until it stops; tells `changed` whenever there is another leader or term.
    pub(crate) async fn run(self, raft: Raft, changed: impl Fn()) {
        let mut seen = None;
        let mut first = None;
        loop {
            let Ok(heard) = raft.with_raft_state(|state| state.vote_last_modified()).await else { return };
            // After a restart openraft dates the vote it finds on disk to now.
            let first = *first.get_or_insert(heard);
            let metrics = raft.metrics().borrow_watched().clone();
            let heard = heard.filter(|_| heard != first);
            if is_alive(&metrics, heard.map(|at| at.elapsed())) {
                self.mark(&self.last_alive);
                note_change(&metrics, &mut seen, || {
                    self.mark(&self.last_change);
                    changed();
                });
            }
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        }
    }

    fn mark(&self, at: &AtomicU64) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        at.store(millis.max(1), Ordering::Relaxed);
    }
}

fn note_change(metrics: &Metrics, seen: &mut Option<(u64, NodeId)>, changed: impl Fn()) {
    let now = metrics.current_leader.map(|id| (metrics.current_term, id));
    if now.is_some() && *seen != now {
        *seen = now;
        changed();
    }
}

fn is_alive(metrics: &Metrics, heard: Option<Duration>) -> bool {
    if metrics.state.is_leader() {
        let alone = metrics.membership_config.voter_ids().nth(1).is_none();
        return alone
            || metrics.last_quorum_acked.is_some_and(|acked| acked.into_inner().elapsed() < LEADER_LEASE);
    }
    metrics.current_leader.is_some_and(|leader| leader != metrics.id)
        && heard.is_some_and(|ago| ago < FOLLOWER_PATIENCE)
}
