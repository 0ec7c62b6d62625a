//! openraft's `RaftLogReader` over the log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use openraft::type_config::alias::VoteOf;
use openraft::{OptionalSend, RaftLogReader, RaftTypeConfig};

use super::log_records::entry;
use crate::error::StorageError;
use crate::log::SegmentedLog;

/// Reads the log: openraft's [`RaftLogReader`](openraft::RaftLogReader).
pub struct LogReader<C: RaftTypeConfig> {
    pub(super) log: Arc<SegmentedLog>,
    /// The durable vote. Locked for memory operations only.
    pub(super) vote: Arc<Mutex<Option<VoteOf<C>>>>,
}

impl<C: RaftTypeConfig> Clone for LogReader<C> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), vote: self.vote.clone() }
    }
}

impl<C: RaftTypeConfig> LogReader<C> {
    pub(super) fn vote(&self) -> Option<VoteOf<C>> {
        self.vote.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_vote(&self, vote: VoteOf<C>) {
        *self.vote.lock().unwrap_or_else(PoisonError::into_inner) = Some(vote);
    }

    /// The part of the log that `range` covers.
    fn clip(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let log = self.log.bounds();
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => log.start,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => log.end,
        };
        start.max(log.start)..end.min(log.end)
    }

    /// Some entries of `range` from its start on: at least one, or none if they have been truncated
    /// or purged meanwhile.
    async fn some(&self, range: Range<u64>) -> Result<Vec<C::Entry>, StorageError> {
        let records = self.log.records(range.clone()).await?;
        let decode = |(index, record): (u64, &Bytes)| {
            let entry = entry::<C>(index, record);
            entry.map_err(|reason| self.log.disk.damaged(&self.log.dir, reason).into())
        };
        range.zip(&records).map(decode).collect()
    }

    /// The entries of `range`, read little by little.
    fn stream(&self, range: Range<u64>) -> impl Stream<Item = Result<C::Entry, io::Error>> + use<C> {
        let reader = self.clone();
        stream::try_unfold(range, move |mut range| {
            let reader = reader.clone();
            async move {
                reader.log.check()?;
                if range.is_empty() {
                    return Ok::<_, io::Error>(None);
                }
                let entries = reader.some(range.clone()).await?;
                if entries.is_empty() {
                    return Ok(None);
                }
                range.start += entries.len() as u64;
                Ok(Some((stream::iter(entries.into_iter().map(Ok)), range)))
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
        self.stream(self.clip(&range)).boxed()
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<C::Entry>, io::Error> {
        self.stream(self.clip(&range)).try_collect().await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        self.log.check()?;
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<C::Entry>, io::Error> {
        self.log.check()?;
        let range = self.clip(&(start..end));
        // Entries from behind the one that was asked for would not fit to what the caller takes
        // them to follow.
        if range.start > start || range.is_empty() { Ok(Vec::new()) } else { Ok(self.some(range).await?) }
    }
}
