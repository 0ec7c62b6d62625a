//! Has a snapshot built when the log behind the last has many bytes: openraft counts entries, and
//! an entry may carry a thousand commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Local;

/// A snapshot is built once this much was applied since the last.
const LOG_BYTES_BETWEEN_SNAPSHOTS: u64 = 64 * 1024 * 1024;
/// How often that is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Watches until the node ends. `applied_bytes`: of all batches applied since the start.
pub(super) async fn watch_snapshots(local: Arc<Local>, applied_bytes: Arc<AtomicU64>) {
    let (mut last, mut bytes_then) = (None, 0);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (snapshot, bytes) =
            (local.with_metrics(|metrics| metrics.snapshot), applied_bytes.load(Ordering::Relaxed));
        if snapshot != last {
            (last, bytes_then) = (snapshot, bytes);
        } else if bytes - bytes_then >= LOG_BYTES_BETWEEN_SNAPSHOTS {
            bytes_then = bytes;
            if local.raft.trigger().snapshot().await.is_err() {
                // Consensus has stopped.
                return;
            }
        }
    }
}
