//! What the writer is asked to do.

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::bundle::Bundle;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// Called when a write is durable, or has failed. Dropped without a call: the log is closed.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// The log id of an entry, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredLogId {
    pub(crate) index: u64,
    pub(crate) record: Bytes,
}

/// A change of the log, in the order in which it takes effect.
pub(super) enum Write {
    /// Store entries: at least one, bundles that follow each other. `room` is given back when they
    /// are durable.
    Append { bundles: Vec<Bundle>, room: OwnedSemaphorePermit, done: Done },
    /// Store an encoded vote, durably.
    Vote { record: Bytes, done: Done },
    /// Remove the entries `from..end`, durably.
    Truncate { from: u64, end: u64, done: Done },
    /// The entry of this log id and those before it may go.
    Purge(StoredLogId),
}

impl Write {
    /// It will not be done.
    pub(super) fn refuse(self, error: &StorageError) {
        match self {
            Self::Append { done, .. } | Self::Vote { done, .. } | Self::Truncate { done, .. } => {
                done(Err(error.clone()));
            }
            Self::Purge(_) => {}
        }
    }
}

/// Pairs of a segment; `None`: the writer does not have it open.
pub(super) type Scanned = Option<Result<Vec<(Bytes, Bytes)>, StorageError>>;

/// A read of the segment that is being written.
pub(super) struct Read {
    /// The segment.
    pub(super) number: u64,
    pub(super) range: KeyRange,
    pub(super) limit: ScanLimit,
    pub(super) answer: SyncSender<Scanned>,
}

/// What comes to the writer.
pub(super) enum Request {
    /// A write, and when it was asked for.
    Write(Write, Instant),
    Read(Read),
}
