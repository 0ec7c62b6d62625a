//! Where a snapshot that a peer sends is written.

use std::io;

use super::snapshot_receiver::Receive;
use super::snapshot_file::SnapshotFile;
use crate::error::StorageError;
use crate::health::Health;

/// Makes room for snapshots that are being received. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotInbox {
    pub(crate) receive: Receive,
    pub(crate) health: Health,
}

impl SnapshotInbox {
    /// An empty snapshot. Write the received bytes, shut it down, and hand it to openraft to be installed; if it
    /// is dropped instead, what was written goes away.
    ///
    /// `shutdown` makes it durable: bytes that are not a whole snapshot are an error of the kind
    /// [`InvalidData`](io::ErrorKind::InvalidData) there, or earlier, and must not be handed to openraft, which takes a
    /// snapshot that cannot be installed for a failure of this node.
    ///
    /// # Errors
    /// A storage fault.
    #[allow(clippy::unused_async, reason = "making room may come to need the disk")]
    pub async fn create(&self) -> io::Result<SnapshotFile> {
        self.health.check().map_err(StorageError::from)?;
        SnapshotFile::receiving(self.receive.clone())
    }
}
