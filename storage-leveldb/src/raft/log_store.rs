//! openraft's `RaftLogStorage` over the log.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::{LogState, OptionalSend, RaftTypeConfig};

use super::log_reader::LogReader;
use super::log_records::{decode, entry, index_behind, purge_point, purged_id};
use crate::disk::GuardedDisk;
use crate::error::StorageError;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;
use crate::log::{BlockBuilder, EncodedEntries, LogEngines, OpenedLog, SegmentedLog};
use crate::options::Options;

/// The first entries after a start are read back before they are stored. A type of command that
/// cannot be (`#[serde(tag)]`) is then refused before any node has it in its log; more would cost
/// every append.
const ENTRIES_READ_BACK: u64 = 64;

/// The Raft log: openraft's [`RaftLogStorage`](openraft::storage::RaftLogStorage).
///
/// Appending returns when the entries can be read, and calls back when they are on disk. The
/// threads behind it end when the store and all its readers are dropped.
///
/// Invariants: `purged <= last`; the log has the entries behind `purged` up to `last`, and so has
/// what is below it; the vote is durable.
pub struct LogStore<C: RaftTypeConfig> {
    reader: LogReader<C>,
    committed: Option<LogIdOf<C>>,
    purged: Option<LogIdOf<C>>,
    /// The last entry's id; that of the last purged one if there are no entries.
    last: Option<LogIdOf<C>>,
    /// So many entries are still to be read back.
    read_back: u64,
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
        let opened = SegmentedLog::open(dir, engines, disk.clone(), options, may_create)?;
        let OpenedLog { log, vote, committed, purged, last_record, newest_dir } = opened;
        let damaged = |reason: String| StorageError::from(disk.damaged(&newest_dir, reason));
        let vote = vote.map(|record| decode::<VoteOf<C>>("vote", &record)).transpose().map_err(damaged)?;
        let committed =
            committed.map(|record| decode("committed id", &record)).transpose().map_err(damaged)?;
        // It may be the manifest's.
        let purged = purged.map(|point| purged_id::<C>(&point)).transpose();
        let purged = purged.map_err(|reason| disk.damaged(dir, reason))?;
        let last = match last_record.zip(log.bounds().next_back()) {
            Some((record, index)) => {
                let entry = entry::<C>(index, &record).map_err(|reason| disk.damaged(dir, reason))?;
                Some(entry.log_id())
            }
            None => purged.clone(),
        };
        let reader = LogReader { log: Arc::new(log), vote: Arc::new(Mutex::new(vote)) };
        Ok(Self { reader, committed, purged, last, read_back: ENTRIES_READ_BACK })
    }

    /// What must hold between two calls.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.reader.log.check_invariants()?;
        let bounds = self.reader.log.bounds();
        let is_behind = |id: &LogIdOf<C>, index| id.index.checked_add(1) == Some(index);
        all_hold(&[
            ("nothing behind the last entry is purged", self.purged <= self.last),
            (
                "the log ends with the last entry",
                self.last.as_ref().is_none_or(|id| is_behind(id, bounds.end)),
            ),
            (
                "the log begins behind what is purged",
                self.purged.as_ref().is_none_or(|id| is_behind(id, bounds.start)),
            ),
        ])
    }

    /// What is in the whole storage has been found good: from now on the log's directory is tidied.
    pub(crate) fn begin(&self) {
        self.reader.log.begin();
    }

    pub(crate) fn position(&self) -> LogPosition<C> {
        let is_empty = self.reader.vote().is_none() && self.last.is_none();
        LogPosition { purged: self.purged.clone(), is_empty }
    }

    fn check(&self) -> Result<(), StorageError> {
        self.reader.log.check()
    }

    /// The entries, if they follow what the log has.
    fn encode(&mut self, entries: impl Iterator<Item = C::Entry>) -> io::Result<EncodedEntries> {
        let mut entries = entries.peekable();
        let mut builder = BlockBuilder::new(entries.peek().map_or(0, RaftEntry::index));
        let (mut last, mut read_back) = (self.last.clone(), self.read_back);
        for entry in entries {
            let log_id = entry.log_id();
            follows::<C>(&log_id, last.as_ref())?;
            builder.add(|buffer| encode_onto::<C>(&entry, read_back > 0, buffer))?;
            read_back = read_back.saturating_sub(1);
            last = Some(log_id);
        }
        (self.last, self.read_back) = (last, read_back);
        Ok(builder.finish())
    }
}

/// A log has no holes.
fn follows<C: RaftTypeConfig>(log_id: &LogIdOf<C>, before: Option<&LogIdOf<C>>) -> io::Result<()> {
    index_behind::<C>(log_id)?;
    match before.filter(|before| before.index.checked_add(1) != Some(log_id.index)) {
        Some(before) => {
            let text = format!("entry {log_id} does not follow {before}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
        None => Ok(()),
    }
}

/// Appends the record of an entry that can be decoded again: one that could not would stop every
/// node that has it, at every start. Decodes it if it `is_tried`, and all large ones.
fn encode_onto<C: RaftTypeConfig>(entry: &C::Entry, is_tried: bool, buffer: &mut Vec<u8>) -> io::Result<()> {
    let before = buffer.len();
    codec::encode_onto(entry, buffer)?;
    let record = buffer.get(before..).unwrap_or_default();
    if is_tried || record.len() > codec::MAX_UNQUESTIONED_BYTES {
        codec::decode::<C::Entry>(record).map_err(|e| {
            let text = format!(
                "entry {} cannot be read back, and is not stored: {e}; have `check_command` refuse such \
                 commands before they are proposed",
                entry.log_id()
            );
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
    }
    Ok(())
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        self.check()?;
        Ok(LogState { last_purged_log_id: self.purged.clone(), last_log_id: self.last.clone() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        self.reader.log.save_vote(codec::encode(vote)?.into()).await?;
        self.reader.set_vote(vote.clone());
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.check()?;
        let Some(log_id) = committed else {
            return Ok(());
        };
        let record = codec::encode(&log_id)?.into();
        self.committed = Some(log_id);
        Ok(self.reader.log.save_committed(record).await?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        self.check()?;
        Ok(self.committed.clone())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.check()?;
        let entries = self.encode(entries.into_iter())?;
        let done = Box::new(move |result: Result<(), StorageError>| {
            callback.io_completed(result.map_err(Into::into));
        });
        Ok(self.reader.log.append(entries, done).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.check()?;
        let last = last_log_id.max(self.purged.clone());
        let from = last.as_ref().map_or(Ok(0), index_behind::<C>)?;
        if from < self.reader.log.bounds().end {
            self.last = last;
            self.reader.log.truncate(from).await?;
        }
        Ok(())
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        self.check()?;
        if self.purged.as_ref() >= Some(&log_id) {
            // What is purged does not come back.
            return Ok(());
        }
        let point = purge_point::<C>(&log_id)?;
        if point.end >= self.reader.log.bounds().end {
            // Nothing is left, though what was last may be of a later term: it was not committed.
            self.last = Some(log_id.clone());
        } else if self.last.as_ref() < Some(&log_id) {
            let text = format!("entries behind {log_id} are of an older leader, and were not truncated");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.purged = Some(log_id);
        Ok(self.reader.log.purge(point).await?)
    }
}
