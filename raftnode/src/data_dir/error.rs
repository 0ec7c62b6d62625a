//! Why a data directory cannot be used.

use std::io;
use std::path::PathBuf;

use crate::identity::IdentityError;

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, listed or written.
    #[error("cannot {action} {}; give --data-dir a directory that this user may write", path.display())]
    Io {
        /// `create`, `list`, …
        action: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("{} is in use by another process; stop it first, or give this node a data directory of its own", .0.display())]
    Locked(PathBuf),
    /// Files, but no identity.
    #[error(
        "{} is not empty (it has '{found}') and has no IDENTITY file: it was not made by such a node, or is damaged; give --data-dir an \
         empty or a new directory, and a damaged node a new id",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// A restore or a recovery has not ended.
    #[error(
        "a restore or a recovery was begun in {} and has not ended, so no node may start on it; run the same command again, to \
         its end", .0.display()
    )]
    Rebuilding(PathBuf),
    /// It belongs to another node, is a copy, or cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl DataDirError {
    /// Whether another directory or other options are needed, so that a supervisor need not try
    /// again.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Locked(_) => false,
            Self::Foreign { .. } | Self::Rebuilding(_) => true,
            Self::Identity(e) => !matches!(e, IdentityError::Io { .. }),
        }
    }
}
