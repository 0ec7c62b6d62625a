//! How much this node stores, and how much room there is left. Measuring blocks, so it happens off
//! the async threads.

use std::path::{Path, PathBuf};

use storage_leveldb::Sizes;

/// How much is stored, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskBytes {
    /// The Raft log.
    pub log: u64,
    /// The tables that make up the state.
    pub state: u64,
    /// Tables that do not: being written or received, or kept while a snapshot of them is sent.
    pub snapshot: u64,
}

impl DiskBytes {
    /// Walks the directories.
    pub(super) async fn measure(sizes: &Sizes) -> Self {
        let sizes = sizes.clone();
        let measure = move || Self {
            log: sizes.log_bytes(),
            state: sizes.state_bytes(),
            snapshot: sizes.snapshot_bytes(),
        };
        tokio::task::spawn_blocking(measure).await.unwrap_or_default()
    }
}

/// The file system that holds a data directory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    /// What an ordinary user can still write.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

impl DiskSpace {
    /// What the system says about the file system of `dir`; `None` if it does not say.
    pub(crate) async fn of(dir: &Path) -> Option<Self> {
        let dir: PathBuf = dir.to_owned();
        let ask = move || rustix::fs::statvfs(&dir).ok();
        let said = tokio::task::spawn_blocking(ask).await.ok()??;
        let bytes = |blocks: u64| blocks.saturating_mul(said.f_frsize);
        Some(Self { free: bytes(said.f_bavail), size: bytes(said.f_blocks) })
    }
}
