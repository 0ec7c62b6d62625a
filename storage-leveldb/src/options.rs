//! How a storage is opened.

use std::sync::Arc;

use crate::disk::{Disk, RealDisk};
use crate::engine::{EngineFactory, LevelDbOptions};
use crate::observer::{NoObserver, Observer};

/// Settings of a [`Storage`](crate::Storage); the default is what runs in production.
#[derive(Clone)]
pub struct Options {
    /// The storage has been opened before, so that an empty directory means that it is lost: a fault. A node that
    /// began anew under an old id would have forgotten its vote.
    pub must_exist: bool,
    /// Recent log entries kept in memory for replication and apply, in bytes of their records and 128 more
    /// for each. Entries that are not yet durable come on top.
    pub tail_bytes: usize,
    /// Pairs of the state machine kept in memory because they were read or written lately, in bytes of keys and
    /// values and 96 more for each.
    pub state_cache_bytes: usize,
    /// Sizes of the log's LevelDB. Keys are sequential there, so a larger write buffer costs little.
    pub log_leveldb: LevelDbOptions,
    /// Sizes of the state machine's LevelDB.
    pub state_leveldb: LevelDbOptions,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Another engine for both databases, in place of LevelDB.
    pub engine: Option<Arc<dyn EngineFactory>>,
    /// Receives measurements.
    pub observer: Arc<dyn Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            must_exist: false,
            tail_bytes: 32 << 20,
            state_cache_bytes: 32 << 20,
            log_leveldb: LevelDbOptions { write_buffer_bytes: 4 << 20, ..LevelDbOptions::default() },
            state_leveldb: LevelDbOptions::default(),
            disk: Arc::new(RealDisk),
            engine: None,
            observer: Arc::new(NoObserver),
        }
    }
}
