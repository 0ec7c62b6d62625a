//! What openraft asks of the state machine.

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{RaftLogReader, RaftSnapshotBuilder};
use tokio::io::AsyncWriteExt;

use super::start::replay;
use super::{StepKind, Workload};
use crate::raft::Application;
use crate::testing::broken::{Broken, promise};
use crate::testing::found::end_of;
use crate::testing::subject::TestTypes;

/// How far the leader that sends a snapshot is ahead, in entries.
const MAX_AHEAD_ENTRIES: u64 = 4;

impl<C: TestTypes, A: Application<C>> Workload<C, A> {
    pub(super) async fn apply(&mut self) -> Result<(), Broken> {
        let (from, log_end) = {
            let model = self.model.lock();
            (model.applied_end, model.log_end)
        };
        let to = from.saturating_add(1).saturating_add(self.random.below(log_end.saturating_sub(from)));
        if from >= log_end {
            return Ok(());
        }
        let decided = {
            let mut model = self.model.lock();
            model.decided_end = model.decided_end.max(to);
            model.committed_end = to;
            model.clone()
        };
        replay(&mut self.reference, &decided, &self.model, to).await?;
        let committed = decided.id_before(to);
        let store = self.store()?;
        store.log.save_committed(committed).await?;
        let entries = store.log.get_log_reader().await.try_get_log_entries(from..to).await?;
        promise!(
            entries.iter().map(RaftEntry::index).eq(from..to),
            "the log answers {} entries of {from}..{to}",
            entries.len()
        );
        self.model.announce(|next| next.applied_end = to);
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        let entries: Vec<_> = entries.collect();
        self.store()?.state.apply(futures_util::stream::iter(entries)).await?;
        self.model.done();
        self.steps.count(StepKind::Apply);
        Ok(())
    }

    /// A snapshot of the state at the moment when its builder is made, whatever is applied before
    /// it is built.
    pub(super) async fn snapshot(&mut self) -> Result<(), Broken> {
        let (snapshot_end, end) = {
            let model = self.model.lock();
            (model.snapshot_end, model.applied_end)
        };
        if end <= snapshot_end {
            return Ok(());
        }
        let mut builder = self.store()?.state.get_snapshot_builder().await;
        if self.random.one_in(2) {
            self.apply().await?;
            let is_behind = self.model.lock().applied_end > end;
            self.steps.count_if(is_behind, StepKind::ApplyDuringSnapshot);
        }
        self.model.announce(|next| {
            next.snapshot_end = end;
            next.durable_applied_end = end;
        });
        let snapshot = builder.build_snapshot().await?;
        let built = end_of::<C>(snapshot.meta.last_log_id.as_ref());
        promise!(built == end, "a snapshot up to {built} of a state at {end}");
        self.model.done();
        self.steps.count(StepKind::Snapshot);
        // Else a later step purges.
        if self.random.one_in(2) { self.purge_some().await } else { Ok(()) }
    }

    /// A leader that is some entries ahead sends its snapshot.
    pub(super) async fn install(&mut self) -> Result<(), Broken> {
        let log_end = {
            let mut model = self.model.lock();
            // Its log begins with all of ours.
            model.decided_end = model.log_end;
            model.log_end
        };
        let ahead = self.entries(log_end, MAX_AHEAD_ENTRIES).await?;
        let end = log_end.saturating_add(ahead.len() as u64);
        let mut leader = self.model.copy();
        leader.extend(ahead);
        replay(&mut self.reference, &leader, &self.model, end).await?;
        let sent = self.reference.snapshot().await?;

        self.model.announce(|next| {
            next.history = leader.history;
            next.applied_end = end;
            next.durable_applied_end = end;
            next.decided_end = end;
            next.snapshot_end = end;
        });
        let store = self.store()?;
        let mut received = store.inbox.create().await?;
        let mut file = sent.snapshot;
        tokio::io::copy(&mut file, &mut received).await?;
        received.shutdown().await?;
        store.state.install_snapshot(&sent.meta, received).await?;
        self.model.done();
        self.steps.count(StepKind::Install);
        self.purge(end).await?;
        self.model.all_done();
        Ok(())
    }
}
