//! openraft's `RaftLogStorage` for [`LogStore`].

use std::io;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::{LogState, OptionalSend, RaftTypeConfig};

use super::log_store::{LogReader, LogStore};
use crate::error::StorageError;
use crate::log::{Bundle, Encoder, StoredLogId};

/// Entries that follow each other, encoded.
struct Encoded<C: RaftTypeConfig> {
    first: LogIdOf<C>,
    last: LogIdOf<C>,
    records: Vec<Bytes>,
    bundles: Vec<Bundle>,
}

impl<C: RaftTypeConfig> LogStore<C> {
    /// `None`: there are no entries.
    fn encode(&mut self, entries: impl Iterator<Item = C::Entry>) -> io::Result<Option<Encoded<C>>> {
        let mut entries = entries.peekable();
        let Some(first) = entries.peek().map(RaftEntry::log_id) else { return Ok(None) };
        let mut encoder = Encoder::new(first.index, self.read_back);
        let mut last = None;
        for entry in entries {
            let log_id = entry.log_id();
            follows::<C>(&log_id, last.as_ref())?;
            encoder.add(&entry)?;
            last = Some(log_id);
        }
        self.read_back = encoder.read_back();
        let (bundles, records) = encoder.finish();
        let last = last.unwrap_or_else(|| first.clone());
        Ok(Some(Encoded { first, last, records, bundles }))
    }
}

fn stored<C: RaftTypeConfig>(log_id: &LogIdOf<C>) -> io::Result<StoredLogId> {
    Ok(StoredLogId { index: log_id.index, record: codec::encode(log_id)?.into() })
}

/// A log has no holes.
fn follows<C: RaftTypeConfig>(log_id: &LogIdOf<C>, before: Option<&LogIdOf<C>>) -> io::Result<()> {
    match before.filter(|before| log_id.index != before.index + 1) {
        Some(before) => {
            let text = format!("entry {log_id} does not follow {before}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
        None => Ok(()),
    }
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        self.reader.log.check()?;
        let ids = self.reader.ids.lock();
        Ok(LogState { last_purged_log_id: ids.purged.clone(), last_log_id: ids.last.clone() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        self.reader.log.vote(codec::encode(vote)?.into()).await?;
        self.reader.ids.lock().vote = Some(vote.clone());
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.reader.log.check()?;
        if let Some(log_id) = committed {
            self.reader.log.committed(stored::<C>(&log_id)?);
            self.reader.ids.lock().committed = Some(log_id);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        self.reader.log.check()?;
        Ok(self.reader.ids.lock().committed.clone())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.reader.log.check()?;
        let Some(Encoded { first, last, records, bundles }) = self.encode(entries.into_iter())? else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        {
            let mut ids = self.reader.ids.lock();
            follows::<C>(&first, ids.last.as_ref())?;
            ids.last = Some(last);
        }
        let done =
            Box::new(|result: Result<(), StorageError>| callback.io_completed(result.map_err(Into::into)));
        Ok(self.reader.log.append(first.index, records, bundles, done).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.reader.log.check()?;
        let from = last_log_id.as_ref().map_or(0, |log_id| log_id.index + 1);
        let (_, end) = self.reader.log.bounds();
        if from >= end {
            return Ok(());
        }
        {
            let mut ids = self.reader.ids.lock();
            ids.last = last_log_id.max(ids.purged.clone());
        }
        Ok(self.reader.log.truncate(from).await?)
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        self.reader.log.check()?;
        let purged = stored::<C>(&log_id)?;
        {
            let mut ids = self.reader.ids.lock();
            if ids.last < Some(log_id.clone()) {
                ids.last = Some(log_id.clone());
            }
            ids.purged = Some(log_id);
        }
        Ok(self.reader.log.purge(purged).await?)
    }
}
