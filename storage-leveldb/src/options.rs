//! How a storage is opened.

use std::sync::Arc;

use crate::disk::{Disk, RealDisk};
use crate::engine::{EngineFactory, LevelDbOptions};
use crate::observer::{Observer, Silent};

/// Settings of a [`Storage`](crate::Storage); the default is what runs in production. Begin with
/// that and set what is to be different.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// The storage has been opened before, so that an empty directory means that it is lost: a
    /// fault. A node that began anew under an old id would have forgotten its vote.
    pub must_exist: bool,
    /// Opens a directory that was copied, or restored from a copy. Otherwise that is a fault, on a
    /// file system that says when it made a file: a node that starts on an older state breaks what
    /// it has promised, and two that start on one state vote twice. To be set for one opening, if
    /// this is the whole and newest state of a node that was stopped before it was copied, and the
    /// original will never run again.
    pub accept_copy: bool,
    /// Recent log entries kept in memory for replication and apply, in bytes of their records and
    /// 128 more for each. Entries that are not yet durable come on top.
    pub tail_bytes: usize,
    /// The log gives space back by whole segments, which have about so many bytes of keys and
    /// values and of 160 more for each pair, so that this is what one takes in memory. Three of
    /// them are there at most: the one being written, one before it, and one that is being stored.
    /// On a disk too slow to make the next one in time the one being written grows, in memory up to
    /// its write buffer.
    pub log_segment_bytes: u64,
    /// What was applied lately is kept in memory until it is this much, in bytes of keys and values
    /// and 160 more for each, and then written to disk as a table. Three times as much is held at
    /// most: one that is being filled and two that are being written. What is not on disk yet is
    /// applied again after a crash.
    pub memtable_bytes: usize,
    /// Memory for the indexes and filters of the state's table files that are kept open, together.
    /// They take some 4 bytes for a pair of 16 and 256 bytes, and only as much as there are pairs.
    /// A state that needs more is read many times slower: most reads have to open a table file.
    pub table_cache_bytes: usize,
    /// The state's table files that are kept open. At most half of the files that the process may
    /// have open are those.
    pub open_tables: usize,
    /// Receives measurements.
    pub observer: Arc<dyn Observer>,
    /// A write buffer several times [`log_segment_bytes`](Self::log_segment_bytes) never becomes a
    /// table while a caller waits for a write.
    pub(crate) log_leveldb: LevelDbOptions,
    /// The state's table files have about this many bytes.
    pub(crate) table_file_bytes: usize,
    pub(crate) disk: Arc<dyn Disk>,
    /// Another engine for both databases, in place of LevelDB.
    pub(crate) engine: Option<Arc<dyn EngineFactory>>,
}

impl Default for Options {
    fn default() -> Self {
        let leveldb = LevelDbOptions::default();
        Self {
            must_exist: false,
            accept_copy: false,
            tail_bytes: 32 << 20,
            log_segment_bytes: 24 << 20,
            memtable_bytes: 32 << 20,
            table_cache_bytes: leveldb.table_cache_bytes,
            open_tables: leveldb.open_tables,
            observer: Arc::new(Silent),
            log_leveldb: LevelDbOptions { write_buffer_bytes: 64 << 20, log_step_bytes: 1 << 20, ..leveldb },
            table_file_bytes: leveldb.table_file_bytes,
            disk: Arc::new(RealDisk),
            engine: None,
        }
    }
}

impl Options {
    /// Sizes of the LevelDBs that are the state's tables.
    pub(crate) fn state_leveldb(&self) -> LevelDbOptions {
        LevelDbOptions {
            table_file_bytes: self.table_file_bytes,
            table_cache_bytes: self.table_cache_bytes,
            open_tables: self.open_tables,
            ..LevelDbOptions::default()
        }
    }
}

/// What tests put in place of what runs.
#[cfg(feature = "testing")]
impl Options {
    /// On another disk.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self }
    }

    /// With another engine for log and state, in place of LevelDB.
    #[must_use]
    pub fn with_engine(self, engine: Arc<dyn EngineFactory>) -> Self {
        Self { engine: Some(engine), ..self }
    }

    /// With other sizes of the LevelDBs that are the log's segments.
    #[must_use]
    pub fn with_log_leveldb(self, log_leveldb: LevelDbOptions) -> Self {
        Self { log_leveldb, ..self }
    }

    /// With files of about this many bytes in the state's tables.
    #[must_use]
    pub fn with_table_file_bytes(self, table_file_bytes: usize) -> Self {
        Self { table_file_bytes, ..self }
    }
}
