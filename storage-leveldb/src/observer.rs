//! What the storage tells a program that measures it. Called on storage threads; implementations
//! must be quick.

use std::time::Duration;

/// Which part of the storage an observation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Db {
    /// The Raft log: votes, entries, the purged and the committed id.
    Log,
    /// The state machine.
    State,
    /// A snapshot from a peer, on its way to becoming the state.
    Snapshot,
}

impl Db {
    /// A short lower-case name, fit for a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::State => "state",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What a caller waited for, mostly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StallCause {
    /// A write of the log: for the disk to sync it.
    Sync,
    /// A write of the log: for LevelDB, which compacts within writes, or for a processor to run on.
    Engine,
    /// A write of the log: for a reader's page to be read from the same segment.
    Reader,
    /// Applying: for full memtables to be written to the disk.
    Flush,
    /// Applying: for flushes, which wait for compactions because there are too many tables.
    Compaction,
}

impl StallCause {
    /// Every cause, with the part of the storage that it is of.
    pub const ALL: [(Db, Self); 5] = [
        (Db::Log, Self::Sync),
        (Db::Log, Self::Engine),
        (Db::Log, Self::Reader),
        (Db::State, Self::Flush),
        (Db::State, Self::Compaction),
    ];

    /// A short lower-case name, fit for a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Engine => "engine",
            Self::Reader => "reader",
            Self::Flush => "flush",
            Self::Compaction => "compaction",
        }
    }
}

/// Receives measurements. Every method does nothing unless overridden.
pub trait Observer: Send + Sync + 'static {
    /// A file or directory was synced to disk.
    fn synced(&self, db: Db, took: Duration) {
        let _ = (db, took);
    }

    /// Bytes were handed to the operating system.
    fn wrote(&self, db: Db, bytes: u64) {
        let _ = (db, bytes);
    }

    /// One group commit of the log made this many entries durable.
    fn appended(&self, entries: u64) {
        let _ = entries;
    }

    /// Committed entries were applied to the state in memory, in one batch.
    fn applied(&self, entries: u64, took: Duration) {
        let _ = (entries, took);
    }

    /// A caller waited for storage, for 10 ms or more.
    fn stalled(&self, db: Db, cause: StallCause, took: Duration) {
        let _ = (db, cause, took);
    }

    /// A snapshot was built: what had been applied is durable.
    fn snapshot_built(&self, took: Duration) {
        let _ = took;
    }
}

/// Measures nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
