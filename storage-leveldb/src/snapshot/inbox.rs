//! Where a snapshot that a peer sends is written.

use std::io;

use openraft::RaftTypeConfig;

use super::directory::SnapshotDirectory;
use super::file::{SnapshotFile, Verify};
use super::reader;
use crate::error::StorageError;

/// Makes files for snapshots that are being received. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotInbox {
    directory: SnapshotDirectory,
    verify: Verify,
}

impl SnapshotInbox {
    pub(crate) fn new<C: RaftTypeConfig>(directory: SnapshotDirectory) -> Self {
        Self { directory, verify: reader::verify::<C> }
    }

    /// An empty file. Write the received bytes, shut it down, and hand it to openraft to be installed; if it
    /// is dropped instead, the file goes away.
    ///
    /// `shutdown` makes it durable and reads it once: bytes that are not a whole snapshot are an error of the kind
    /// [`InvalidData`](io::ErrorKind::InvalidData) there, and must not be handed to openraft, which takes a snapshot that
    /// cannot be installed for a failure of this node.
    ///
    /// # Errors
    /// A storage fault.
    pub async fn create(&self) -> io::Result<SnapshotFile> {
        let (directory, verify) = (self.directory.clone(), self.verify);
        let create = move || {
            let temporary = directory.new_temporary();
            let file = directory.disk().create(temporary.path()).map_err(StorageError::from)?;
            Ok(SnapshotFile::incoming(temporary, file, verify))
        };
        tokio::task::spawn_blocking(create).await.map_err(io::Error::other)?
    }
}
