//! A disk that does not answer, as it looks from above: a write or a sync that began and does not
//! return.
//!
//! It is no fault: nothing is wrong with what is stored, and when the disk answers again the node
//! is well. But a leader that can store nothing must not keep the others from electing one that
//! can.

use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_leveldb::health::PendingCall;

use super::Local;
use super::handover::give_leadership_away;

/// A call to the disk that has not returned for so long hangs. A slow disk takes a tenth of a
/// second.
pub(super) const DISK_HANGS_AFTER: Duration = Duration::from_secs(3);
/// How often the calls are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Between two attempts of a leader to hand over.
const HANDOVER_PAUSE: Duration = Duration::from_secs(5);

impl Local {
    /// The call to the disk that hangs, if one does.
    #[must_use]
    pub(crate) fn hanging_disk(&self) -> Option<PendingCall> {
        self.health.pending_call().filter(|call| call.since >= DISK_HANGS_AFTER)
    }
}

/// Looks at the disk as long as the node runs.
pub(crate) async fn watch_disk(local: Arc<Local>) {
    let mut seen = false;
    loop {
        let hanging = local.hanging_disk();
        // Twice: when a process that was stopped goes on, all its calls look as if they had taken
        // as long.
        if let Some(call) = hanging.clone().filter(|_| seen) {
            tracing::error!(path = %call.path.display(), "{}", explain(&call));
            local.set_disk_hangs(true);
            wait_for_disk(&local, Instant::now() - call.since).await;
            local.set_disk_hangs(false);
        }
        seen = hanging.is_some();
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What hangs, and what that means.
pub(super) fn explain(call: &PendingCall) -> String {
    format!(
        "the disk hangs: {call}; this node stores nothing until it does, and lets another one lead (look at the \
         disk, its cable, or the network below it)"
    )
}

/// Does not lead until the disk answers.
async fn wait_for_disk(local: &Local, since: Instant) {
    let raft = &local.raft;
    let mut handed_over: Option<Instant> = None;
    while local.hanging_disk().is_some() {
        if leads(local) && handed_over.is_none_or(|at| at.elapsed() >= HANDOVER_PAUSE) {
            give_leadership_away(local).await;
            handed_over = Some(Instant::now());
            // If no node has taken over, the others elect one when they hear nothing from this
            // one.
            raft.runtime_config().heartbeat(false);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    raft.runtime_config().heartbeat(true);
    // A leader that has begun to hand over accepts no more writes in this term.
    if handed_over.is_some()
        && leads(local)
        && let Err(e) = raft.trigger().elect(false).await
    {
        tracing::warn!("cannot lead again: {e}");
    }
    tracing::info!(event.duration = nanos(since.elapsed()), "the disk answers again");
}

fn leads(local: &Local) -> bool {
    local.with_metrics(|metrics| metrics.state.is_leader())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
