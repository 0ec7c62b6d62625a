//! openraft's `RaftLogStorage` for [`LogStore`].

use std::io;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::alias::{LogIdOf, VoteOf};
use openraft::{LogState, OptionalSend, RaftTypeConfig};
use tokio::sync::oneshot;

use super::bundle::Bundle;
use super::command::Write;
use super::encode::Encoder;
use super::store::{LogReader, LogStore, MAX_UNSYNCED_KIB};
use crate::error::StorageError;

impl<C: RaftTypeConfig> LogStore<C> {
    async fn send(&self, write: Write<C>) -> Result<(), StorageError> {
        self.reader.check()?;
        self.reader.queue.send(write).await
    }

    /// Puts entries into the tail, where readers find them; answers them in bundles.
    fn put_into_tail(&mut self, entries: impl Iterator<Item = C::Entry>) -> io::Result<Vec<Bundle>> {
        let mut entries = entries.peekable();
        let Some(first) = entries.peek().map(RaftEntry::log_id) else { return Ok(Vec::new()) };
        let mut encoder = Encoder::new(first.index, self.read_back);
        let mut last = None;
        for entry in entries {
            let log_id = entry.log_id();
            follows::<C>(&log_id, last.as_ref())?;
            encoder.add::<C>(&entry)?;
            last = Some(log_id);
        }
        self.read_back = encoder.read_back();
        let (bundles, records) = encoder.finish();
        let mut contents = self.reader.contents.lock();
        follows::<C>(&first, contents.last.as_ref())?;
        if contents.last.is_none() {
            contents.tail.purge(first.index);
            contents.first = first.index;
        }
        records.into_iter().for_each(|record| contents.tail.push(record));
        contents.last = last;
        Ok(bundles)
    }
}

/// A log has no holes.
fn follows<C: RaftTypeConfig>(log_id: &LogIdOf<C>, before: Option<&LogIdOf<C>>) -> io::Result<()> {
    match before.filter(|before| log_id.index != before.index.saturating_add(1)) {
        Some(before) => {
            let text = format!("entry {log_id} does not follow {before}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
        None => Ok(()),
    }
}

/// Permits that bundles of this size need.
fn kib_of(bundles: &[Bundle]) -> u32 {
    let bytes: usize = bundles.iter().map(Bundle::bytes).sum();
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, MAX_UNSYNCED_KIB)
}

impl<C: RaftTypeConfig> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        self.reader.check()?;
        let contents = self.reader.contents.lock();
        Ok(LogState { last_purged_log_id: contents.purged.clone(), last_log_id: contents.last.clone() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        let (done, saved) = oneshot::channel();
        self.send(Write::Vote { record: codec::encode(vote)?.into(), done }).await?;
        saved.await.map_err(|_| StorageError::Closed)??;
        self.reader.contents.lock().vote = Some(vote.clone());
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.reader.check()?;
        let Some(log_id) = committed else {
            return Ok(());
        };
        let record = codec::encode(&log_id)?.into();
        self.reader.contents.lock().committed = Some(log_id);
        Ok(self.send(Write::Committed { record }).await?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogIdOf<C>>, io::Error> {
        self.reader.check()?;
        Ok(self.reader.contents.lock().committed.clone())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.reader.check()?;
        let bundles = self.put_into_tail(entries.into_iter())?;
        let room = self.room.clone().acquire_many_owned(kib_of(&bundles)).await;
        let room = room.map_err(|_| StorageError::Closed)?;
        Ok(self.send(Write::Append { bundles, room, done: callback }).await?)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogIdOf<C>>) -> Result<(), io::Error> {
        self.reader.check()?;
        let from = last_log_id.as_ref().map_or(0, |id| id.index.saturating_add(1));
        let end = {
            let mut contents = self.reader.contents.lock();
            let end = contents.tail.end();
            if from >= end {
                return Ok(());
            }
            contents.tail.truncate(from);
            contents.last = last_log_id.max(contents.purged.clone());
            end
        };
        let (done, truncated) = oneshot::channel();
        self.send(Write::Truncate { from, end, done }).await?;
        Ok(truncated.await.map_err(|_| StorageError::Closed)??)
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Result<(), io::Error> {
        self.reader.check()?;
        let end = log_id.index.saturating_add(1);
        let record = codec::encode(&log_id)?.into();
        {
            let mut contents = self.reader.contents.lock();
            contents.tail.purge(end);
            contents.first = contents.first.max(end);
            if contents.last < Some(log_id.clone()) {
                contents.last = Some(log_id.clone());
            }
            contents.purged = Some(log_id.clone());
        }
        Ok(self.send(Write::Purge { log_id, record }).await?)
    }
}
