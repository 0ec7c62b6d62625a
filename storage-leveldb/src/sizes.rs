//! Bytes on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;

/// Measures the storage directory. Cheap to clone; each answer walks a directory.
#[derive(Clone)]
pub struct Sizes {
    disk: Arc<dyn Disk>,
    log: PathBuf,
    state: PathBuf,
    snapshot: PathBuf,
}

impl Sizes {
    pub(crate) fn new(disk: Arc<dyn Disk>, log: PathBuf, state: PathBuf, snapshot: PathBuf) -> Self {
        Self { disk, log, state, snapshot }
    }

    /// The log's database.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.files_in(&self.log)
    }

    /// The state machine's database, and what a snapshot is being built from.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let names = self.disk.list(&self.state).unwrap_or_default();
        names.iter().map(|name| self.files_in(&self.state.join(name))).sum()
    }

    /// Snapshot files.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        self.files_in(&self.snapshot)
    }

    /// A file may go away while this counts; then it counts for nothing.
    fn files_in(&self, dir: &Path) -> u64 {
        let names = self.disk.list(dir).unwrap_or_default();
        names.iter().map(|name| self.disk.len(&dir.join(name)).unwrap_or(0)).sum()
    }
}
