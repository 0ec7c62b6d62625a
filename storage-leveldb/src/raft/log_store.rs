//! The handles to the log that openraft holds.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::{LogIdOf, VoteOf};
use serde::de::DeserializeOwned;

use crate::disk::GuardedDisk;
use crate::error::StorageError;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;
use crate::log::{Log, LogEngines};
use crate::options::Options;

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
    /// So many entries are still to be read back.
    pub(super) read_back: u64,
}

/// Reads the log: openraft's [`RaftLogReader`](openraft::RaftLogReader).
pub struct LogReader<C: RaftTypeConfig> {
    pub(super) log: Log,
    pub(super) ids: Arc<SharedIds<C>>,
}

impl<C: RaftTypeConfig> Clone for LogReader<C> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), ids: self.ids.clone() }
    }
}

/// What openraft has to be told of the log.
///
/// Invariants: nothing behind `last` is purged; the vote is durable.
pub(super) struct Ids<C: RaftTypeConfig> {
    pub(super) vote: Option<VoteOf<C>>,
    pub(super) committed: Option<LogIdOf<C>>,
    pub(super) purged: Option<LogIdOf<C>>,
    /// The last entry's id; that of the last purged one if there are no entries.
    pub(super) last: Option<LogIdOf<C>>,
}

/// The ids behind a lock that is held for memory operations only.
pub(super) struct SharedIds<C: RaftTypeConfig>(Mutex<Ids<C>>);

impl<C: RaftTypeConfig> SharedIds<C> {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ids<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From where to where a log goes.
pub(crate) struct LogPosition<C: RaftTypeConfig> {
    pub(crate) purged: Option<LogIdOf<C>>,
    /// No vote has been given and there has never been an entry.
    pub(crate) is_empty: bool,
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
        let index_of = |record: &[u8]| {
            codec::decode::<LogIdOf<C>>(record).map(|log_id| log_id.index).map_err(|e| e.to_string())
        };
        let (log, found) = Log::open(dir, engines, index_of, disk, options, may_create)?;
        let vote = mark(&log, "vote", found.vote.as_ref())?;
        let committed = mark(&log, "commit", found.committed.as_ref())?;
        let purged = mark(&log, "purge", found.purged.as_ref().map(|log_id| &log_id.record))?;
        let index = |log_id: &LogIdOf<C>| log_id.index;
        if purged.as_ref().map(index) != found.purged.as_ref().map(|log_id| log_id.index) {
            return Err(log.disk().damaged(log.dir(), "what is purged has two indexes").into());
        }
        let last = match found.last {
            Some(last) => Some(log_id_of::<C>(&log, last.index, &last.record)?),
            None => purged.clone(),
        };
        let ids = Arc::new(SharedIds(Mutex::new(Ids { vote, committed, purged, last })));
        Ok(Self { reader: LogReader { log, ids }, read_back: ENTRIES_READ_BACK })
    }

    /// What is in the whole storage has been found good: from now on the log's directory is tidied.
    pub(crate) fn begin(&self) {
        self.reader.log.begin();
    }

    pub(crate) fn position(&self) -> LogPosition<C> {
        let ids = self.reader.ids.lock();
        let is_empty = ids.vote.is_none() && ids.last.is_none();
        LogPosition { purged: ids.purged.clone(), is_empty }
    }

    /// What must hold between two calls.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.reader.log.check_invariants()?;
        let (first, end) = self.reader.log.bounds();
        let ids = self.reader.ids.lock();
        let end_of = |id: &Option<LogIdOf<C>>| id.as_ref().map(|id| id.index + 1);
        all_hold(&[
            ("nothing behind the last entry is purged", ids.purged <= ids.last),
            ("the log ends with the last entry", end_of(&ids.last).is_none_or(|last| end == last)),
            (
                "the log begins behind what is purged",
                end_of(&ids.purged).is_none_or(|purged| first == purged),
            ),
        ])
    }
}

fn mark<T: DeserializeOwned>(
    log: &Log,
    name: &str,
    record: Option<&Bytes>,
) -> Result<Option<T>, StorageError> {
    let damaged = |e| log.disk().damaged(log.dir(), format!("the {name} mark: {e}"));
    Ok(record.map(|record| codec::decode(record)).transpose().map_err(damaged)?)
}

fn log_id_of<C: RaftTypeConfig>(log: &Log, index: u64, record: &[u8]) -> Result<LogIdOf<C>, StorageError> {
    let damaged = |reason: String| log.disk().damaged(log.dir(), format!("log entry {index} {reason}"));
    let entry: C::Entry = codec::decode(record).map_err(|e| damaged(format!("cannot be read: {e}")))?;
    if entry.index() != index {
        return Err(damaged(format!("says it is entry {}", entry.index())).into());
    }
    Ok(entry.log_id())
}
