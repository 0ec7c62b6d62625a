//! A data directory that is taken away while the node runs: removed, moved, or replaced by
//! another.
//!
//! The node has its files open and would go on with them, until one has to be opened by its name;
//! and what it acknowledges meanwhile is gone when it ends.

use std::time::Duration;

use storage_leveldb::{Fault, Health};

use crate::data_dir::Fingerprint;

/// How often the directory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the directory until it is not the same any more, which is a fault of the storage.
pub(crate) async fn watch_data_dir(fingerprint: Fingerprint, health: Health) {
    let mut fingerprint = fingerprint;
    while health.fault().is_none() {
        tokio::time::sleep(LOOK_INTERVAL).await;
        // A disk that hangs must not hold up a thread that serves.
        let look = move || (fingerprint.changed(), fingerprint);
        let Ok((changed, same)) = tokio::task::spawn_blocking(look).await else { return };
        if let Some((path, what)) = changed {
            health.latch(Fault::corrupt(path, format!("{what} while this node runs")));
        }
        fingerprint = same;
    }
}
