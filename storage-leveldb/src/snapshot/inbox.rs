//! Where a snapshot that a peer sends is written.

use std::io;

use super::directory::SnapshotDirectory;
use super::file::SnapshotFile;
use crate::error::StorageError;

/// Makes files for snapshots that are being received. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotInbox {
    directory: SnapshotDirectory,
}

impl SnapshotInbox {
    pub(crate) fn new(directory: SnapshotDirectory) -> Self {
        Self { directory }
    }

    /// An empty file. Write the received bytes, shut it down, and hand it to openraft to be installed; if it
    /// is dropped instead, the file goes away.
    ///
    /// # Errors
    /// A storage fault.
    pub async fn create(&self) -> io::Result<SnapshotFile> {
        let directory = self.directory.clone();
        let create = move || {
            let temporary = directory.new_temporary();
            let file = directory.disk().create(temporary.path()).map_err(StorageError::from)?;
            Ok(SnapshotFile::incoming(temporary, file))
        };
        tokio::task::spawn_blocking(create).await.map_err(io::Error::other)?
    }
}
