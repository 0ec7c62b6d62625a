//! What must hold between log, state and snapshot. Called by [`Storage::open`](crate::Storage::open).
//!
//! Each part is checked by itself when it is opened; these are the signs that one of them is older
//! than the others, as after a restored backup of a single file.

use std::path::Path;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;

use super::log_store::LogPosition;
use crate::disk::GuardedDisk;
use crate::error::StorageError;

/// Where the parts of a storage stand.
pub(crate) struct Standing<C: RaftTypeConfig> {
    pub(crate) log: LogPosition<C>,
    /// The last entry whose effects are in the durable state.
    pub(crate) applied: Option<LogIdOf<C>>,
}

fn index<C: RaftTypeConfig>(log_id: Option<&LogIdOf<C>>) -> Option<u64> {
    log_id.map(|id| id.index)
}

fn entry(index: Option<u64>) -> String {
    index.map_or("no entry".to_owned(), |index| format!("entry {index}"))
}

impl<C: RaftTypeConfig> Standing<C> {
    /// Entries are purged only once the durable state has their effects. The opposite, applied
    /// entries that the log does not have, is no damage: openraft applies what a majority has, even
    /// if this node's own log is not durable yet.
    pub(crate) fn check(&self, disk: &GuardedDisk, dir: &Path) -> Result<(), StorageError> {
        let purged = index::<C>(self.log.purged.as_ref());
        let applied = index::<C>(self.applied.as_ref());
        if purged <= applied {
            return Ok(());
        }
        let reason = format!(
            "the log is purged up to {}, but the state ends at {}: the state is older than the log",
            entry(purged),
            entry(applied),
        );
        Err(disk.damaged(dir, reason).into())
    }

    /// The marker that says that the databases exist is durable before the first vote or entry is.
    pub(crate) fn check_new(&self, disk: &GuardedDisk, marker: &Path) -> Result<(), StorageError> {
        if self.log.is_empty && self.applied.is_none() {
            return Ok(());
        }
        Err(disk.damaged(marker, "missing, although the storage has been in use").into())
    }
}
