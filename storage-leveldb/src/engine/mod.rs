//! The engine seam: what the log and the state machine need of an ordered key-value store.
//!
//! Two implementations: [`LevelDb`], which is what runs, and [`MemoryEngine`], which tests compare it
//! with. An engine is used by one thread at a time and never asked anything after it answered an error.

mod batch;
mod leveldb;
mod memory;
mod range;

use std::path::Path;

use bytes::Bytes;

use crate::error::StorageError;

pub use batch::{Batch, Op};
pub(crate) use leveldb::panic_text;
pub use leveldb::{LevelDb, LevelDbOptions};
pub use memory::MemoryEngine;
pub use range::{KeyRange, ScanLimit};

/// Whether a write is on disk when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It may be lost by a crash, but only together with every write after it.
    Ordered,
    /// It is on disk, and so is every write before it.
    Synced,
}

/// An ordered map from byte strings to byte strings, on disk.
///
/// Contract: a batch is applied whole or not at all, also across a crash; after a crash the content is a
/// prefix of the batches written, and includes every batch up to the last [`Durability::Synced`] one.
pub trait Engine {
    /// The value of `key`.
    ///
    /// # Errors
    /// A fault; never because the key is missing.
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Applies a batch.
    ///
    /// # Errors
    /// A fault; the engine is then unusable.
    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError>;

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there is one.
    ///
    /// # Errors
    /// A fault; never a shorter answer.
    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError>;

    /// Makes everything written so far durable, and a durable copy of it in the directory `to`, which must
    /// not exist. The copy can be opened with the same [`EngineFactory`]; making it takes time that does
    /// not depend on how much is stored.
    ///
    /// # Errors
    /// A fault.
    fn checkpoint(&mut self, to: &Path) -> Result<(), StorageError>;
}

/// Opens engines. Shared between threads; the engines are not.
pub trait EngineFactory: Send + Sync + 'static {
    /// Opens the engine in `dir`, creating it if the directory is empty or missing.
    ///
    /// # Errors
    /// A fault, naming the damaged file.
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError>;

    /// Whether `dir` holds an engine.
    ///
    /// # Errors
    /// A fault.
    fn exists(&self, dir: &Path) -> Result<bool, StorageError>;
}
