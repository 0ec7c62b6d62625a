//! Memory that fails under a running node, in the part of the state that is not on disk yet.

use std::sync::Arc;
use std::time::Duration;

use super::Local;

/// How often it is looked at. A memtable is also looked at before it is written to disk.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looks until the node ends, or until a bit is found that was flipped, which is a fault of the
/// storage.
pub(crate) async fn watch_memory(local: Arc<Local>) {
    while local.health.fault().is_none() {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let reader = local.reader.clone();
        // The fault has been latched: everything else learns of it there.
        drop(tokio::task::spawn_blocking(move || reader.check_memory_blocking()).await);
    }
}
