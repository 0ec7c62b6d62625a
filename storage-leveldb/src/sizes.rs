//! Bytes on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;

/// The directories of the tables that make up the state now.
pub(crate) type LiveDirs = Arc<dyn Fn() -> Vec<PathBuf> + Send + Sync>;

/// Measures the storage directory. Cheap to clone; each answer walks a directory.
#[derive(Clone)]
pub struct Sizes {
    disk: Arc<dyn Disk>,
    log: PathBuf,
    tables: LiveDirs,
    state: PathBuf,
}

impl Sizes {
    pub(crate) fn new(disk: Arc<dyn Disk>, log: PathBuf, tables: LiveDirs, state: PathBuf) -> Self {
        Self { disk, log, tables, state }
    }

    /// The log's segments, the one that lies ready included.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        let dirs = self.disk.list(&self.log).unwrap_or_default();
        dirs.iter().map(|name| self.files_in(&self.log.join(name))).sum()
    }

    /// The state machine's tables.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        (self.tables)().iter().map(|dir| self.files_in(dir)).sum()
    }

    /// Tables that are no part of the state: being written or received, or still read because a
    /// snapshot of them is being sent.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        let live = (self.tables)();
        let dirs = self.disk.list(&self.state).unwrap_or_default();
        let dirs = dirs.iter().map(|name| self.state.join(name)).filter(|dir| !live.contains(dir));
        dirs.map(|dir| self.files_in(&dir)).sum()
    }

    /// A file may go away while this counts; then it counts for nothing.
    fn files_in(&self, dir: &Path) -> u64 {
        let names = self.disk.list(dir).unwrap_or_default();
        names.iter().map(|name| self.disk.len(&dir.join(name)).unwrap_or(0)).sum()
    }
}
