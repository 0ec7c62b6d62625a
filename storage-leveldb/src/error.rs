//! The one error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

use crate::health::Fault;

/// Why a storage operation failed.
///
/// Every variant but [`Busy`](StorageError::Busy) and [`Closed`](StorageError::Closed) is final for the
/// process: the storage has latched its first [`Fault`] and refuses everything after it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// A write, sync or read failed, or bytes on disk are not what was written. Nothing has reached the
    /// disk since.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Another process has the directory open.
    #[error("{} is in use by another process; stop it first", .0.display())]
    Busy(PathBuf),
    /// The storage was closed while the request waited.
    #[error("storage is closed")]
    Closed,
}

impl StorageError {
    /// A fault that has not been latched: only for failures before any storage exists.
    pub(crate) fn at(path: &Path, reason: impl ToString) -> Self {
        Self::Fault(Fault { path: path.to_owned(), reason: reason.to_string() })
    }
}

impl From<StorageError> for io::Error {
    fn from(e: StorageError) -> Self {
        Self::other(e)
    }
}
