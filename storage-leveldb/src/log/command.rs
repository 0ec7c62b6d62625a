//! What the owner thread is asked to do.

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::storage::IOFlushed;
use openraft::type_config::alias::LogIdOf;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::bundle::Bundle;
use crate::error::StorageError;

/// A change of the log, in the order in which it takes effect.
pub(super) enum Write<C: RaftTypeConfig> {
    /// Store entries: at least one, bundles that follow each other.
    Append { bundles: Vec<Bundle>, room: OwnedSemaphorePermit, done: IOFlushed<C> },
    /// Store an encoded vote, durably.
    Vote { record: Bytes, done: oneshot::Sender<Result<(), StorageError>> },
    /// Remove the entries `from..end`, durably.
    Truncate { from: u64, end: u64, done: oneshot::Sender<Result<(), StorageError>> },
    /// Store the last purged log id, encoded; it and what is before it may go.
    Purge { log_id: LogIdOf<C>, record: Bytes },
    /// Store an encoded committed log id.
    Committed { record: Bytes },
}
