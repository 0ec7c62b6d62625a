//! What openraft asks of the log.

use std::io;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::vote::RaftTerm;

use super::{StepKind, Workload};
use crate::error::StorageError;
use crate::raft::Application;
use crate::testing::broken::Broken;
use crate::testing::ids::vote;
use crate::testing::subject::TestTypes;

/// Entries of one append.
const MAX_APPEND_ENTRIES: u64 = 5;
/// Appends under way at once: a group commit should hold several.
const MAX_APPENDS_IN_FLIGHT: u64 = 4;

/// Tells when an append is durable.
type Flushed<C> = OneshotReceiverOf<C, Result<(), io::Error>>;

impl<C: TestTypes, A: Application<C>> Workload<C, A> {
    /// Some appends, the next handed over before the one before it is durable, and now and then a
    /// vote or a purge behind them.
    pub(super) async fn append_some(&mut self) -> Result<(), Broken> {
        let mut in_flight = Vec::new();
        for _ in 0..=self.random.below(MAX_APPENDS_IN_FLIGHT) {
            in_flight.push(self.begin_append().await?);
        }
        let together = if in_flight.len() > 1 { StepKind::AppendTogether } else { StepKind::Append };
        match self.random.below(8) {
            0 => {
                self.vote_some().await?;
                self.steps.count(StepKind::AppendAndVote);
            }
            1..=3 if self.begin_purge().await? => self.steps.count(StepKind::AppendAndPurge),
            _ => {}
        }
        for flushed in in_flight {
            flushed.await.map_err(|_| StorageError::Closed)??;
            self.model.done();
        }
        self.model.all_done();
        self.steps.count(together);
        Ok(())
    }

    /// Hands over one append.
    async fn begin_append(&mut self) -> Result<Flushed<C>, Broken> {
        let first = self.model.lock().after().log_end;
        let new = self.entries(first, MAX_APPEND_ENTRIES).await?;
        let entries = new.iter().map(|logged| logged.entry()).collect::<Result<Vec<_>, _>>()?;
        self.model.announce(|next| {
            next.log_end = first.saturating_add(new.len() as u64);
            next.extend(new);
            next.log_is_synced();
        });
        let (done, flushed) = C::oneshot();
        self.store()?.log.append(entries, IOFlushed::signal(done)).await?;
        Ok(flushed)
    }

    /// A vote for a new leader, or that the last one has been elected: that is never taken back.
    pub(super) async fn vote_some(&mut self) -> Result<(), Broken> {
        let (term, has_voted) = {
            let model = self.model.lock();
            let after = model.after();
            (after.term, after.vote.as_ref() == Some(&vote::<C>(after.term, false)))
        };
        let is_elected = has_voted && self.random.one_in(2);
        let term = if is_elected { term } else { term.next() };
        let vote = vote::<C>(term, is_elected);
        self.model.announce(|next| {
            next.vote = Some(vote.clone());
            next.term = term;
            next.log_is_synced();
        });
        self.store()?.log.save_vote(&vote).await?;
        self.model.all_done();
        self.steps.count(if is_elected { StepKind::CommittedVote } else { StepKind::Vote });
        Ok(())
    }

    /// Another leader has other entries behind the committed ones.
    pub(super) async fn truncate(&mut self) -> Result<(), Broken> {
        let (low, high) = {
            let model = self.model.lock();
            (model.decided_end, model.log_end)
        };
        if low >= high {
            return Ok(());
        }
        let end = low.saturating_add(self.random.below(high.saturating_sub(low)));
        let last = self.model.lock().id_before(end);
        self.forecast.truncate(end);
        self.model.announce(|next| {
            next.log_end = end;
            next.truncate(end);
            next.log_is_synced();
        });
        self.store()?.log.truncate_after(last).await?;
        self.model.done();
        self.steps.count(StepKind::Truncate);
        Ok(())
    }

    pub(super) async fn purge_some(&mut self) -> Result<(), Broken> {
        self.begin_purge().await?;
        self.model.all_done();
        Ok(())
    }

    /// openraft purges up to the snapshot at most. Answers whether there was anything to purge.
    async fn begin_purge(&mut self) -> Result<bool, Broken> {
        let (purged_end, snapshot_end) = {
            let model = self.model.lock();
            (model.after().purged_end, model.snapshot_end)
        };
        if purged_end >= snapshot_end {
            return Ok(false);
        }
        let more = self.random.below(snapshot_end.saturating_sub(purged_end));
        self.purge(purged_end.saturating_add(1).saturating_add(more)).await?;
        Ok(true)
    }

    /// Hands over a purge, which is not waited for.
    pub(super) async fn purge(&mut self, end: u64) -> Result<(), Broken> {
        let Some(last) = self.model.lock().after().id_before(end) else {
            return Ok(());
        };
        self.model.announce(|next| {
            next.purged_end = end;
            next.log_end = next.log_end.max(end);
        });
        self.store()?.log.purge(last).await?;
        self.steps.count(StepKind::Purge);
        Ok(())
    }
}
