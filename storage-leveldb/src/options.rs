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
    /// Opens a directory that was copied, or restored from a copy. Otherwise that is a fault, on a
    /// file system that says when it made a file: a node that starts on an older state breaks what
    /// it has promised, and two that start on one state vote twice. To be set for one opening, if
    /// this is the whole and newest state of a node that was stopped before it was copied, and the
    /// original will never run again. Not looked at by other engines than LevelDB.
    pub accept_copy: bool,
    /// Recent log entries kept in memory for replication and apply, in bytes of their records and 128 more
    /// for each. Entries that are not yet durable come on top.
    pub tail_bytes: usize,
    /// The log gives space back by whole segments, which have about so many bytes of keys and values and of 160 more for
    /// each pair, so that this is what the one being written takes in memory. On a disk too slow to make the next one in
    /// time it grows, in memory up to its write buffer.
    pub log_segment_bytes: u64,
    /// What was applied lately is kept in memory until it is this much, in bytes of keys and values and 160 more for
    /// each, and then written to disk as a run. Three times as much is held at most: one that is being filled and two that
    /// are being written. What is not on disk yet is applied again after a crash.
    pub memtable_bytes: usize,
    /// Sizes of the LevelDBs that are the log's segments. A write buffer several times [`log_segment_bytes`](Self::log_segment_bytes)
    /// never becomes a table while somebody waits for a write.
    pub log_leveldb: LevelDbOptions,
    /// Sizes of the state machine's LevelDBs.
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
            accept_copy: false,
            tail_bytes: 32 << 20,
            log_segment_bytes: 24 << 20,
            memtable_bytes: 32 << 20,
            log_leveldb: LevelDbOptions {
                write_buffer_bytes: 64 << 20,
                log_step_bytes: 1 << 20,
                ..LevelDbOptions::default()
            },
            state_leveldb: LevelDbOptions::default(),
            disk: Arc::new(RealDisk),
            engine: None,
            observer: Arc::new(NoObserver),
        }
    }
}
