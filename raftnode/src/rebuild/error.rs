//! Why there is no new cluster.

use std::io;
use std::path::PathBuf;

use proto::backup::BackupError;
use storage_leveldb::StorageError;

use super::log_point::LogPoint;
use crate::data_dir::DataDirError;
use crate::identity::IdentityError;
use crate::raft::NodeId;

/// A new cluster could not be made of what there is. Unless it says otherwise, the same call can be
/// made again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Whose data it is cannot be read or written, or forbids it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file or directory cannot be read or written.
    #[error("cannot {action} {}; what is there has not been lost, so run this again once that is mended", path.display())]
    Io {
        /// `write`, `rename`, …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A restore would hide or mix with what is there.
    #[error("{} is not empty (it has '{found}'); give --data-dir an empty or a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// Another command was begun here.
    #[error("a {begun} was begun in {} and has not ended; run that again, not a {asked}", path.display())]
    OtherWork {
        /// The directory.
        path: PathBuf,
        /// What was begun.
        begun: &'static str,
        /// What is asked for.
        asked: &'static str,
    },
    /// The file that tells how far it is.
    #[error("{} is damaged ({reason}): how far the work in this directory is cannot be known; its storage is where it was", path.display())]
    Marker {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier call was for another node.
    #[error("{} has been restored as node {found}, not as node {asked}; give another directory", path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The earlier call's.
        found: NodeId,
        /// This call's.
        asked: NodeId,
    },
    /// There is nothing to recover.
    #[error("{}: {reason}; there is nothing to recover", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The backup is none, or is damaged.
    #[error("the backup: {0}")]
    Backup(#[from] BackupError),
    /// What is in the backup cannot be understood, although its checksums are right.
    #[error("the backup has no snapshot that can be read: {0}")]
    Snapshot(String),
    /// It is a backup of something else.
    #[error("this is a backup of the application '{found}', and this program is '{own}'")]
    OtherApplication {
        /// The backup's.
        found: String,
        /// This program's.
        own: String,
    },
    /// The program is too old.
    #[error(
        "schema {found} is in force in this state, and this program understands schemas up to {own}; use the newer program"
    )]
    Schema {
        /// In force.
        found: u32,
        /// This program's.
        own: u32,
    },
    /// The storage has failed, is damaged, or is in use.
    #[error("the storage in {}: {source}", path.display())]
    Storage {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: StorageError,
    },
    /// The operator has accepted another loss.
    #[error("what may be lost is all after entry {last}, and {accepted} was accepted")]
    OtherLoss {
        /// The last entry that is there.
        last: LogPoint,
        /// What was given.
        accepted: LogPoint,
    },
    /// A step of the work panicked or was stopped.
    #[error("it was stopped: {0}")]
    Stopped(String),
}

impl RebuildError {
    /// Whether other options, another directory or another file are needed: the same call would
    /// fail again.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        match self {
            Self::DataDir(e) => e.is_misfit(),
            Self::Identity(e) => !matches!(e, IdentityError::Io { .. }),
            Self::Backup(e) => !matches!(e, BackupError::Io(_)),
            Self::Io { .. } | Self::Storage { .. } | Self::Stopped(_) => false,
            _ => true,
        }
    }
}
