//! What the writer is asked to do.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::entry_block::EntryBlock;
use super::manifest::PurgePoint;
use crate::error::StorageError;

/// Called once what was asked for is durable, or has failed; dropped if the log closes before.
pub(crate) type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// A request, and when it was made.
pub(super) type Queued = (Instant, Request);

/// A change of the log, in the order in which it takes effect.
pub(super) enum Request {
    /// Store entries, in blocks that follow each other.
    Append { blocks: Vec<EntryBlock>, room: OwnedSemaphorePermit, done: Done },
    /// Store a vote, durably.
    Vote { record: Bytes, done: Done },
    /// Remove the entries `from..end`, durably.
    Truncate { from: u64, end: u64, done: Done },
    /// Store up to where the log is purged, `record` being the encoding; the entries may go.
    Purge { point: PurgePoint, record: Bytes },
    /// Store the committed id.
    Committed { record: Bytes },
}
