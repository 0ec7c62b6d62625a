//! Sorted tables: pairs that are written once, in key order, and from then on only read, by many
//! threads at a time.
//!
//! The state machine is made of them. Every engine can make and read tables by the means of
//! [`Engine`] alone; an engine that can do it faster says so in
//! [`EngineFactory`](super::EngineFactory).

use bytes::Bytes;

use super::{Batch, Durability, Engine};
use crate::error::StorageError;
use crate::scan::{KeyRange, ScanLimit};

/// Pairs are handed to an engine in batches of this size.
const BATCH_BYTES: usize = 1024 * 1024;

/// A complete table. Its content never changes.
///
/// # Contract
/// As for the reads of an [`Engine`]: keys in the order of their bytes, and an answer is right or
/// an error.
pub trait Table: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// A fault; never because the key is missing.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there
    /// is one.
    ///
    /// # Errors
    /// A fault; never a shorter answer.
    fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError>;
}

/// A table being written. Dropped before it is finished, it leaves files that mean nothing.
pub trait TableWriter {
    /// Adds a pair. Keys come in strictly ascending order.
    ///
    /// # Errors
    /// A fault; the table is then given up.
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError>;

    /// Completes the table. It is durable, its names included, when this returns.
    ///
    /// # Errors
    /// A fault.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// Writes a table into any engine.
pub(super) struct EngineTableWriter {
    engine: Box<dyn Engine>,
    batch: Batch,
}

impl EngineTableWriter {
    pub(super) fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, batch: Batch::default() }
    }
}

impl TableWriter for EngineTableWriter {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.batch.put(key.to_vec(), Bytes::copy_from_slice(value));
        if self.batch.bytes() < BATCH_BYTES {
            return Ok(());
        }
        self.engine.write(std::mem::take(&mut self.batch), Durability::Ordered)
    }

    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.engine.write(std::mem::take(&mut self.batch), Durability::Synced)
    }
}
