//! What can be wrong with a snapshot.

use std::io;

use crate::error::StorageError;
use crate::health::Fault;

/// Why a snapshot could not be read or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The bytes are not a snapshot, or not all of one.
    #[error("the snapshot is damaged or incomplete")]
    Damaged(#[source] io::Error),
    /// The snapshot is a valid one, of another position than was announced.
    #[error("the snapshot is not the one that was announced")]
    OtherMeta,
    /// The disk of this node failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl SnapshotError {
    /// What an error in reading the snapshot's stream means.
    pub(super) fn in_stream(e: io::Error) -> Self {
        match e.downcast::<StorageError>() {
            Ok(e) => e.into(),
            Err(e) => Self::Damaged(e),
        }
    }
}

impl From<Fault> for SnapshotError {
    fn from(fault: Fault) -> Self {
        Self::Storage(fault.into())
    }
}

impl From<SnapshotError> for io::Error {
    fn from(e: SnapshotError) -> Self {
        match e {
            SnapshotError::Storage(e) => e.into(),
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
