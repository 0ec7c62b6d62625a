//! What the owner thread is asked to do.

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::storage::IOFlushed;
use openraft::type_config::alias::LogIdOf;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::StorageError;

/// A change of the log, in the order in which it takes effect.
pub(super) enum Write<C: RaftTypeConfig> {
    /// Store encoded entries, the first of which has this index.
    Append { first: u64, records: Vec<Bytes>, room: OwnedSemaphorePermit, done: IOFlushed<C> },
    /// Store an encoded vote, durably.
    Vote { record: Bytes, done: oneshot::Sender<Result<(), StorageError>> },
    /// Remove the entries `from..end`, durably.
    Truncate { from: u64, end: u64, done: oneshot::Sender<Result<(), StorageError>> },
    /// Store the last purged log id, encoded; it and what is before it may go.
    Purge { log_id: LogIdOf<C>, record: Bytes },
    /// Store an encoded committed log id.
    Committed { record: Bytes },
}
