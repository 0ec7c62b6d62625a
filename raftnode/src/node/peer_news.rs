//! What the requests of peers tell about this node, beside Raft.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use network_grpc::{ClusterId, Incarnation, Observer, Rpc};
use storage_leveldb::Fault;

use crate::data_dir::STORAGE;
use crate::metrics::NetworkMetrics;
use crate::standing::{Claim, Local};

/// Listens on the side that serves peers.
pub(super) struct PeerNews {
    metrics: Arc<NetworkMetrics>,
    local: Arc<Local>,
    /// The identity file says that this directory is outdated, or is about to.
    marked: AtomicBool,
}

impl PeerNews {
    pub(super) fn new(metrics: Arc<NetworkMetrics>, local: Arc<Local>) -> Self {
        Self { metrics, local, marked: AtomicBool::new(false) }
    }

    fn storage(&self) -> PathBuf {
        self.local.data_dir.join(STORAGE)
    }
}

impl Observer for PeerNews {
    fn rpc(&self, rpc: Rpc, peer: &str, took: Duration, ok: bool) {
        self.metrics.rpc(rpc, peer, took, ok);
    }

    fn snapshot_sent(&self, peer: &str, bytes: u64) {
        self.metrics.snapshot_sent(peer, bytes);
    }

    fn claimed(&self, cluster: ClusterId, incarnation: Option<Incarnation>) {
        self.local.hearsay.claimed(Claim { cluster, incarnation });
    }

    /// The latch keeps this node from voting and acknowledging anything, and the mark keeps it from
    /// being started again.
    fn lacks_acknowledged(&self, what: &str) {
        let id = self.local.id;
        let reason = format!(
            "this node has acknowledged log entry {what}, and its log lacks it: the files were replaced by an older copy. \
             It must not vote; run `kvcli cluster remove {id}`, and add a node with a new id and an empty directory"
        );
        self.local.health.latch(Fault::corrupt(self.storage(), reason));
        if self.marked.swap(true, Ordering::Relaxed) {
            return;
        }
        let enrollment = Arc::clone(&self.local.enrollment);
        tokio::task::spawn_blocking(move || {
            if let Err(e) = enrollment.mark_outdated() {
                tracing::error!(
                    error = &e as &dyn std::error::Error,
                    "this directory must not be used again"
                );
            }
        });
    }
}
