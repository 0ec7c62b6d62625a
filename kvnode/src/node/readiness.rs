//! Whether this node should be sent requests. Asked by `/readyz` and gRPC health.

use openraft::LogIdOptionExt as _;
use storage_leveldb::{Fault, PendingCall};

use super::{Local, Standing, explain};
use crate::raft::committed_end;

/// A node that has this many committed entries still to apply is lagging.
const MAX_READY_LAG_ENTRIES: u64 = 10_000;

/// Why a node should not be sent requests.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotReady {
    /// It was asked to stop.
    #[error("stopping")]
    Stopping,
    /// Storage failed.
    #[error("{}", explain(.0))]
    Fault(#[from] Fault),
    /// Consensus stopped.
    #[error("consensus has stopped: {0}; restart this node")]
    Stopped(String),
    /// The disk does not answer.
    #[error("{}", super::disk_watch::explain(.0))]
    DiskHangs(PendingCall),
    /// Part of no cluster.
    #[error("not initialised; run kvcli cluster init")]
    NotInitialized,
    /// Nobody leads.
    #[error("no leader for {}.{:01} s", .0.as_secs(), .0.subsec_millis() / 100)]
    NoLeader(std::time::Duration),
    /// Far behind.
    #[error("lagging: {0} committed entries are not applied here yet (ready at {MAX_READY_LAG_ENTRIES})")]
    Lagging(u64),
}

impl Local {
    /// Whether this node should be sent requests.
    ///
    /// # Errors
    /// Why it should not.
    pub fn ready(&self) -> Result<(), NotReady> {
        match self.standing() {
            Standing::Faulty(fault) => return Err(fault.into()),
            Standing::Stopped(reason) if !self.is_stopping() => return Err(NotReady::Stopped(reason)),
            _ if self.is_stopping() => return Err(NotReady::Stopping),
            _ if let Some(call) = self.hanging_disk() => return Err(NotReady::DiskHangs(call)),
            _ if !self.is_initialized() => return Err(NotReady::NotInitialized),
            _ if !self.leader_watch.is_alive() => {
                return Err(NotReady::NoLeader(self.leader_watch.silence()));
            }
            _ => {}
        }
        let lag = self
            .with_metrics(|metrics| committed_end(metrics).saturating_sub(metrics.last_applied.next_index()));
        if lag > MAX_READY_LAG_ENTRIES { Err(NotReady::Lagging(lag)) } else { Ok(()) }
    }
}
