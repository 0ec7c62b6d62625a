//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

use crate::health::Fault;

/// Why a storage operation failed.
///
/// A [`Fault`](StorageError::Fault) is final for the process: the storage has latched its first one
/// and refuses everything after it. The other variants concern the request only.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A write, sync or read failed, or bytes on disk are not what was written. Nothing has reached
    /// the disk since.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Another process has the directory open.
    #[error("{} is in use by another process; stop it first", .0.display())]
    Busy(PathBuf),
    /// The application panicked while it answered a query, with this message. Nothing is latched,
    /// and other queries go on. Mend the application, or have it refuse such a query.
    #[error("the application panicked while answering a query: {0}")]
    QueryPanicked(String),
    /// The application could not answer a query, for this reason. Nothing is latched.
    #[error("the application could not answer a query: {0}")]
    QueryFailed(String),
    /// The answer of a query cannot be encoded, or read back from its encoding. Nothing is latched;
    /// mend its type.
    #[error("the application could not answer a query: the answer cannot be {0}; mend its type")]
    UnsendableAnswer(String),
    /// The storage was closed while the request waited.
    #[error("storage is closed")]
    Closed,
}

impl StorageError {
    /// What an application read from its state is not what it wrote, for this reason.
    #[must_use]
    pub fn corrupt(reason: impl Into<String>) -> Self {
        Self::Fault(Fault::corrupt("state", reason.into()))
    }
}

impl From<StorageError> for io::Error {
    fn from(e: StorageError) -> Self {
        Self::other(e)
    }
}
