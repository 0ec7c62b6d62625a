//! The engine seam: what the log and the state machine need of an ordered key-value store.
//!
//! Two implementations: [`LevelDb`], which is what runs, and `MemoryEngine`, for tests; a third
//! is in `examples/third_engine`. What all of them must do is at [`Engine`].

mod batch;
mod factory;
mod latched;
mod leveldb;
#[cfg(feature = "testing")]
mod memory;
mod served;
mod table;

use bytes::Bytes;

use crate::error::StorageError;
use crate::scan::{KeyRange, ScanLimit};

pub use batch::{Batch, Op};
pub use factory::EngineFactory;
pub(crate) use latched::latched;
pub use leveldb::{LevelDb, LevelDbOptions};
pub(crate) use leveldb::{LiveFiles, panic_text, records as leveldb_records};
#[cfg(feature = "testing")]
pub use memory::MemoryEngine;
pub(crate) use served::{Served, WriteCall, WriteSource, WriteTime};
pub use table::{Table, TableWriter};

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
/// # Contract
///
/// - **Order.** Keys are ordered by their bytes. Any key may occur but those of 24 or more bytes
///   that all are `ff`; keys are short (a few KiB), values may have 16 MiB.
/// - **Batches.** A batch is applied whole or not at all, also across a crash. Within one, a later
///   change of a key replaces an earlier one. What a write returned from, every later read sees.
/// - **Durability.** After a crash the content is a prefix of the batches written, and includes
///   every batch up to the last [`Durability::Synced`] one. An [`Durability::Ordered`] one may be
///   lost, but never alone: a batch after it is lost too. Closing (dropping) an engine and opening
///   it again loses nothing.
/// - **Faults.** An answer is right or an error: a read that fails or finds damage is never "not
///   found" and never a shorter scan. After an error the storage does not call the engine again.
/// - **One user.** One thread at a time uses an engine, and at most one engine is open in a
///   directory.
///
/// # Writing another engine
///
/// `examples/third_engine` is one in some 200 lines. Implement this trait and [`EngineFactory`], do
/// all disk access through a [`Disk`](crate::testing::disk::Disk), and
///
/// - write a record that a crash can tear with a checksum over all of it, and never append behind a
///   torn one: it would hide what follows;
/// - sync a new file *and* its directory before anything relies on its name, and replace a file by
///   writing another, syncing it, renaming it and syncing the directory;
/// - delete the old only after the new is durable.
///
/// Then put it through the checks of the feature `testing`, which know nothing of the engine
/// inside:
///
/// ```
/// # use std::sync::Arc;
/// # use storage_leveldb::testing::engine::{EngineFactory, LevelDbOptions};
/// # use storage_leveldb::testing::{SimDisk, engine_conformance, leveldb_on};
/// // Your factory, on a simulated disk.
/// fn make(disk: &SimDisk) -> Arc<dyn EngineFactory> {
///     Arc::new(leveldb_on(disk, LevelDbOptions::default()))
/// }
/// // Every call, one after the other.
/// engine_conformance::check(&|| make(&SimDisk::default()));
/// // Long random histories, compared with a map.
/// engine_conformance::check_random(make(&SimDisk::default()).as_ref(), 1);
/// // The power fails at every operation on the disk; answers how often it did.
/// assert!(engine_conformance::check_power_loss(&make, 1) > 50);
/// ```
///
/// and, in [`Options::with_engine`](crate::Options::with_engine) below a whole storage, through openraft's
/// suite: `tests/storage/conformance.rs` shows how, in 20 lines. An engine whose files are not
/// under checksums of their own passes all this and still believes a flipped bit; the storage
/// checks nothing below this seam.
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

    /// So many bytes are about to be written to this engine, which is new: it may prepare for them
    /// now, rather than while a caller waits for a write.
    ///
    /// # Errors
    /// A fault; the engine is then unusable.
    fn reserve(&mut self, _bytes: u64) -> Result<(), StorageError> {
        Ok(())
    }

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there
    /// is one.
    ///
    /// # Errors
    /// A fault; never a shorter answer.
    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError>;
}
