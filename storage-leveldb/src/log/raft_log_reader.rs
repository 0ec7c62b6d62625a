//! openraft's `RaftLogReader` for [`LogReader`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use openraft::type_config::alias::VoteOf;
use openraft::{OptionalSend, RaftLogReader, RaftTypeConfig};

use super::store::LogReader;
use crate::error::StorageError;

/// Entries read at once, in bytes of their records (one entry may be larger). Well under the 4 MiB
/// that gRPC accepts by default, whatever the network adds.
const MAX_READ_BYTES: usize = 1024 * 1024;
/// The same from disk: appends and votes wait for it where it is read from the segment that is
/// written.
const MAX_DISK_READ_BYTES: usize = 256 * 1024;

impl<C: RaftTypeConfig> LogReader<C> {
    /// After a fault every call answers with it, those that need no disk too.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        Ok(self.disk.health.check()?)
    }

    /// The part of the log that `range` covers.
    fn clip(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let contents = self.contents.lock();
        let first = contents.first;
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => first,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        (start.max(first), end.min(contents.tail.end()))
    }

    /// Some entries from `start` on: at least one of `start..end`, or none if they have been
    /// truncated or purged meanwhile.
    async fn some(&self, start: u64, end: u64) -> Result<Vec<C::Entry>, StorageError> {
        let records = self.records(start, end).await?;
        let decode = |(index, record): (u64, Bytes)| {
            codec::decode(&record)
                .map_err(|e| self.disk.damaged(&self.dir, format!("log entry {index}: {e}")).into())
        };
        (start..).zip(records).map(decode).collect()
    }

    async fn records(&self, start: u64, end: u64) -> Result<Vec<Bytes>, StorageError> {
        let tail_first = {
            let contents = self.contents.lock();
            if start >= contents.tail.first() {
                return Ok(contents.tail.read(start, end, MAX_READ_BYTES));
            }
            contents.tail.first()
        };
        let reader = self.clone();
        let read = move || reader.records_on_disk(start, end.min(tail_first));
        tokio::task::spawn_blocking(read).await.map_err(|_| StorageError::Closed)?
    }

    /// Records of entries that are durable. Blocks on the disk.
    fn records_on_disk(&self, start: u64, end: u64) -> Result<Vec<Bytes>, StorageError> {
        let records = self.segments.get().records(start, end, MAX_DISK_READ_BYTES)?;
        if records.is_empty() {
            self.check_gone(start)?;
        }
        Ok(records)
    }

    /// An entry without a record must have been purged or truncated meanwhile.
    fn check_gone(&self, index: u64) -> Result<(), StorageError> {
        let contents = self.contents.lock();
        if index < contents.first || index >= contents.tail.first() {
            return Ok(());
        }
        Err(self.disk.damaged(&self.dir, format!("log entry {index} is missing")).into())
    }

    /// The entries of `start..end`, read little by little.
    fn stream(&self, start: u64, end: u64) -> impl Stream<Item = Result<C::Entry, io::Error>> + use<C> {
        let reader = self.clone();
        stream::try_unfold(start, move |next| {
            let reader = reader.clone();
            async move {
                reader.check()?;
                if next >= end {
                    return Ok::<_, io::Error>(None);
                }
                let entries = reader.some(next, end).await?;
                if entries.is_empty() {
                    return Ok(None);
                }
                let next = next.saturating_add(entries.len() as u64);
                Ok(Some((stream::iter(entries.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
    }
}

impl<C: RaftTypeConfig> RaftLogReader<C> for LogReader<C> {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<C::Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.clip(&range);
        self.stream(start, end).boxed()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        let (start, end) = self.clip(&range);
        self.stream(start, end).try_collect().await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        self.check()?;
        Ok(self.contents.lock().vote.clone())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        self.check()?;
        let (first, end) = self.clip(&(start..end));
        // Entries from behind the one that was asked for would not fit to what the caller takes
        // them to follow.
        if first > start || first >= end { Ok(Vec::new()) } else { Ok(self.some(first, end).await?) }
    }
}
