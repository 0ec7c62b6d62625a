//! How long puts, votes, applies and snapshots took.

use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::latencies::Latencies;

/// Each field is one of these times.
#[derive(Default)]
pub(crate) struct Waits {
    /// From when a put was meant to be appended until it was durable.
    pub(crate) append: Latencies,
    /// From when a vote was meant to be saved until it was.
    pub(crate) vote: Latencies,
    /// From when a batch was given to the worker until it was applied; a time per batch.
    pub(crate) apply: Latencies,
    /// From when a put was meant to be appended until it was applied.
    pub(crate) put: Latencies,
    /// How long applying was held up: by getting a snapshot builder, and by calls of `apply` as far
    /// as they took longer than 10 ms.
    pub(crate) held_up: Latencies,
    /// Building a snapshot.
    pub(crate) build: Latencies,
}

/// When puts were meant to be appended, and what they hold until they are applied.
pub(crate) struct Mark {
    pub(crate) intended: Instant,
    pub(crate) count: u64,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}
