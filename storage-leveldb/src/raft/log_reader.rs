//! openraft's `RaftLogReader` for [`LogReader`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use openraft::type_config::alias::VoteOf;
use openraft::{OptionalSend, RaftLogReader, RaftTypeConfig};

use super::log_store::LogReader;
use crate::error::StorageError;

impl<C: RaftTypeConfig> LogReader<C> {
    /// The part of the log that `range` covers.
    fn clip(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let (first, log_end) = self.log.bounds();
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
        (start.max(first), end.min(log_end))
    }

    /// Some entries from `start` on: at least one of `start..end`, or none if they have been
    /// truncated or purged meanwhile.
    async fn some(&self, start: u64, end: u64) -> Result<Vec<C::Entry>, StorageError> {
        let records = self.log.read(start, end).await?;
        let decode = |(index, record): (u64, Bytes)| {
            let damaged = |e| self.log.disk().damaged(self.log.dir(), format!("log entry {index}: {e}"));
            Ok(codec::decode(&record).map_err(damaged)?)
        };
        (start..).zip(records).map(decode).collect()
    }

    /// The entries of `start..end`, read little by little.
    fn stream(&self, start: u64, end: u64) -> impl Stream<Item = Result<C::Entry, io::Error>> + use<C> {
        let reader = self.clone();
        stream::try_unfold(start, move |next| {
            let reader = reader.clone();
            async move {
                reader.log.check()?;
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
        self.log.check()?;
        Ok(self.ids.lock().vote.clone())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        self.log.check()?;
        let (first, end) = self.clip(&(start..end));
        // Entries from behind the one that was asked for would not fit to what the caller takes
        // them to follow.
        if first > start || first >= end { Ok(Vec::new()) } else { Ok(self.some(first, end).await?) }
    }
}
