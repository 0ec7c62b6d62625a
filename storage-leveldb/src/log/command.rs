//! What the owner thread is asked to do.

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::StorageError;

/// One request, in the order in which it takes effect.
pub(super) enum Command<C: RaftTypeConfig> {
    Write(Write<C>),
    Read(Read),
}

/// A change of the log.
pub(super) enum Write<C: RaftTypeConfig> {
    /// Store encoded entries, the first of which has this index.
    Append { first: u64, records: Vec<Bytes>, room: OwnedSemaphorePermit, done: IOFlushed<C> },
    /// Store an encoded vote, durably.
    Vote { record: Vec<u8>, done: oneshot::Sender<Result<(), StorageError>> },
    /// Remove the entries `from..end`, durably.
    Truncate { from: u64, end: u64, done: oneshot::Sender<Result<(), StorageError>> },
    /// Store the encoded last purged log id; entries before `end` may go.
    Purge { record: Vec<u8>, end: u64 },
    /// Store an encoded committed log id.
    Committed { record: Vec<u8> },
}

/// Records of the entries `start..end` from `start` on, until they add up to `limit_bytes`; at least one, unless the
/// entries have gone meanwhile.
pub(super) struct Read {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) limit_bytes: usize,
    pub(super) done: oneshot::Sender<Result<Vec<Bytes>, StorageError>>,
}
