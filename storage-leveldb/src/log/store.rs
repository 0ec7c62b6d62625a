//! The handles to the log: opening it, and what openraft holds of it.

use std::path::Path;
use std::sync::Arc;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;
use tokio::sync::{Semaphore, mpsc};

use super::caretaker::{Caretaker, CaretakerStart, CaretakerThread};
use super::command::Write;
use super::contents::SharedContents;
use super::load::{Loaded, Place, load};
use super::owner::Owner;
use super::segments::SharedSegments;
use super::turn::Intake;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::options::Options;
use crate::owner_thread::{OwnerThread, latching};

/// Requests that wait for the owner thread; more wait for room.
const QUEUE_REQUESTS: usize = 4096;
/// Entries that are not yet durable, in KiB of records; an append that would exceed it waits.
pub(super) const MAX_UNSYNCED_KIB: u32 = 64 * 1024;
/// The first entries after a start are read back before they are stored. A type of command that
/// cannot be (`#[serde(tag)]`) is then refused before any node has it in its log; more would cost
/// every append.
const ENTRIES_READ_BACK: u64 = 64;

/// The Raft log: openraft's [`RaftLogStorage`](openraft::storage::RaftLogStorage).
///
/// Appending returns when the entries can be read, and calls back when they are on disk. The
/// threads behind it end when the store and all its readers are dropped.
pub struct LogStore<C: RaftTypeConfig> {
    pub(super) reader: LogReader<C>,
    pub(super) room: Arc<Semaphore>,
    /// So many entries are still to be read back.
    pub(super) read_back: u64,
    caretaker: CaretakerStart<C>,
}

/// Reads the log: openraft's [`RaftLogReader`](openraft::RaftLogReader).
pub struct LogReader<C: RaftTypeConfig> {
    pub(super) contents: Arc<SharedContents<C>>,
    pub(super) queue: Arc<OwnerThread<Write<C>>>,
    pub(super) segments: Arc<SharedSegments>,
    pub(super) disk: GuardedDisk,
    pub(super) dir: Arc<Path>,
}

impl<C: RaftTypeConfig> Clone for LogReader<C> {
    fn clone(&self) -> Self {
        Self {
            contents: self.contents.clone(),
            queue: self.queue.clone(),
            segments: self.segments.clone(),
            disk: self.disk.clone(),
            dir: self.dir.clone(),
        }
    }
}

/// What opens the databases of a log.
pub(crate) struct LogEngines {
    pub(crate) factory: Arc<dyn EngineFactory>,
    /// Opens databases without changing anything on the disk, and latches nothing.
    pub(crate) spectator: Arc<dyn EngineFactory>,
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// Opens the log in `dir`, creates it if `may_create`, and starts its threads. Blocks on the
    /// disk.
    pub(crate) fn open(
        dir: &Path,
        engines: LogEngines,
        disk: GuardedDisk,
        options: &Options,
        may_create: bool,
    ) -> Result<Self, StorageError> {
        let LogEngines { factory, spectator } = engines;
        let place = Place { dir, disk: &disk, factory: &factory, spectator: spectator.as_ref() };
        let Loaded { contents, marks, segments, active, prepared, root, next_number } =
            load::<C>(&place, may_create, options.tail_bytes)?;
        let purged = contents.purged.clone();
        let contents = Arc::new(SharedContents::new(contents));
        let segments = Arc::new(SharedSegments::new(segments));
        let caretaker = Caretaker {
            dir: dir.to_owned(),
            disk: disk.clone(),
            factory,
            segments: segments.clone(),
            root,
            next_number,
            purged,
            segment_bytes: options.log_segment_bytes,
            removed: Vec::new(),
        };
        let caretaker = CaretakerThread::start(caretaker, prepared)?;
        let starter = caretaker.starter();
        let owner = Owner {
            contents: contents.clone(),
            disk: disk.clone(),
            segments: segments.clone(),
            caretaker,
            active,
            active_bytes: 0,
            segment_bytes: options.log_segment_bytes,
        };
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        let (its_disk, its_dir) = (disk.clone(), dir.to_owned());
        let (thread, ()) = OwnerThread::start("raft-log", sender, move || {
            let intake = Intake { queue: receiver, marks };
            Ok(((), move || latching(&its_disk, &its_dir, || owner.run(intake))))
        })?;
        let reader = LogReader { contents, queue: Arc::new(thread), segments, disk, dir: dir.into() };
        let room = Arc::new(Semaphore::new(MAX_UNSYNCED_KIB as usize));
        Ok(Self { reader, room, read_back: ENTRIES_READ_BACK, caretaker: starter })
    }

    /// What must hold between two calls.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.reader.contents.check_invariants()?;
        self.reader.segments.check_invariants()
    }

    /// What is in the whole storage has been found good: from now on the log's directory is tidied.
    pub(crate) fn begin(&self) {
        self.caretaker.begin();
    }
}

/// From where to where a log goes.
pub(crate) struct LogPosition<C: RaftTypeConfig> {
    pub(crate) purged: Option<LogIdOf<C>>,
    /// No vote has been given and there has never been an entry.
    pub(crate) is_empty: bool,
}

impl<C: RaftTypeConfig> LogStore<C> {
    pub(crate) fn position(&self) -> LogPosition<C> {
        let contents = self.reader.contents.lock();
        let is_empty = contents.vote.is_none() && contents.last.is_none();
        LogPosition { purged: contents.purged.clone(), is_empty }
    }
}
