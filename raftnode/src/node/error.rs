//! Why a node does not start, and why it does not do what it is asked.

use std::io;
use std::path::PathBuf;

use storage_leveldb::StorageError;
use storage_leveldb::config::UnsafeConfig;
use tonic::{Code, Status};

use super::BindError;
use crate::api::NODE_FAULT_METADATA;
use crate::auth::AuthError;
use crate::config::{JoinOptionsError, OwnEntryError};
use crate::data_dir::DataDirError;
use crate::tls::TlsError;

/// A node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(Box<BindError>),
    /// The peer list does not fit this node.
    #[error(transparent)]
    OwnEntry(#[from] OwnEntryError),
    /// The options about joining a cluster do not go together, or with others.
    #[error(transparent)]
    Join(#[from] JoinOptionsError),
    /// A member of one cluster is told to join another.
    #[error(
        "{} belongs to a member of cluster {own}, and --join names {address}, where cluster {found} is; a node never changes its \
         cluster: give a new node an empty directory, or leave --join out",
        dir.display()
    )]
    AnotherCluster {
        /// The data directory.
        dir: PathBuf,
        /// Its cluster.
        own: String,
        /// What was asked.
        address: String,
        /// The cluster there.
        found: String,
    },
    /// The data directory is not this node's, or cannot be used.
    #[error(transparent)]
    DataDir(Box<DataDirError>),
    /// The storage cannot be opened, for another reason than a fault of the storage: a node with
    /// such a fault starts, and says so.
    #[error("cannot open the storage in {}", path.display())]
    Storage {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: StorageError,
    },
    /// The directories of two nodes were mixed.
    #[error(
        "{} stores the log of another cluster than its IDENTITY names; put back what belongs together, or remove this \
         node and add one with a new id and an empty directory",
        .0.display()
    )]
    Mixed(PathBuf),
    /// A later program has been here.
    #[error(
        "{} has data of schema {found}, and this program understands schemas up to {own}; start the newer program, or remove this \
         node and add one with a new id and an empty directory", dir.display()
    )]
    Schema {
        /// The data directory.
        dir: PathBuf,
        /// The latest schema in it.
        found: u32,
        /// The program's.
        own: u32,
    },
    /// The figures for consensus are not safe, which is a mistake in this crate.
    #[error(transparent)]
    Config(#[from] UnsafeConfig),
    /// Certificates, keys or CAs cannot be used.
    #[error(transparent)]
    Tls(Box<TlsError>),
    /// It cannot be told who may do what.
    #[error("{0}")]
    Auth(String),
    /// The system refuses something.
    #[error("cannot {action}")]
    System {
        /// `listen for signals`, …
        action: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// Consensus, metrics or services cannot be set up.
    #[error("cannot start {what}: {reason}")]
    Part {
        /// `consensus`, …
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

impl From<DataDirError> for StartError {
    fn from(e: DataDirError) -> Self {
        Self::DataDir(Box::new(e))
    }
}

impl From<TlsError> for StartError {
    fn from(e: TlsError) -> Self {
        Self::Tls(Box::new(e))
    }
}

impl From<AuthError> for StartError {
    fn from(e: AuthError) -> Self {
        Self::Auth(e.to_string())
    }
}

impl From<BindError> for StartError {
    fn from(e: BindError) -> Self {
        Self::Bind(Box::new(e))
    }
}

impl StartError {
    /// Whether another directory or other options are needed, so that a supervisor need not try
    /// again.
    #[must_use]
    pub fn is_misfit(&self) -> bool {
        match self {
            Self::OwnEntry(_)
            | Self::Join(_)
            | Self::AnotherCluster { .. }
            | Self::Schema { .. }
            | Self::Tls(_)
            | Self::Auth(_) => true,
            Self::DataDir(e) => e.is_misfit(),
            _ => false,
        }
    }

    pub(super) fn part(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Part { what, reason: reason.to_string() }
    }
}

/// A node that had failed was stopped; its log has said how it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped, having served nothing since the failure named in the log")]
pub struct Failed;

/// A request was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It has changed nothing and never will; it may be tried again.
    #[error("{0}")]
    NotApplied(String),
    /// It may have been applied. A write with a request id may be tried again all the same.
    #[error("{0}")]
    Unknown(String),
    /// Too much is in flight here. It has changed nothing; try again later.
    #[error("{0}")]
    Overloaded(String),
    /// This node's storage has failed, and it answers nothing any more. It has changed nothing; ask
    /// another node.
    #[error("{0}")]
    Faulty(String),
    /// It cannot be done as things are, or never. It has changed nothing.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The status code of HTTP for an application that answers over HTTP: 503 (not applied, or this
    /// node is faulty), 429 (overloaded), 422 (refused) or 504 (the outcome is unknown).
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::NotApplied(_) | Self::Faulty(_) => 503,
            Self::Overloaded(_) => 429,
            Self::Refused(_) => 422,
            Self::Unknown(_) => 504,
        }
    }

    /// A read changes nothing, whatever has become of it.
    pub(super) fn of_read(status: Status) -> Self {
        match Self::from(status) {
            Self::Unknown(text) => Self::NotApplied(text),
            error => error,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            _ if status.metadata().contains_key(NODE_FAULT_METADATA) => Self::Faulty(text),
            Code::Unavailable => Self::NotApplied(text),
            Code::ResourceExhausted => Self::Overloaded(text),
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented => Self::Refused(text),
            Code::DataLoss => Self::Faulty(text),
            _ => Self::Unknown(text),
        }
    }
}
