//! How a workload begins again: after a crash, and after a restart in good order.

use std::sync::Arc;

use openraft::StorageHelper;

use super::{StepKind, Steps, Workload};
use crate::error::StorageError;
use crate::raft::Application;
use crate::testing::broken::{Broken, promise};
use crate::testing::forecast::Forecast;
use crate::testing::found::Found;
use crate::testing::model::{Model, SharedModel};
use crate::testing::random::Random;
use crate::testing::reference::Reference;
use crate::testing::sim_disk::SimDisk;
use crate::testing::subject::{Subject, TestTypes};

impl<C: TestTypes, A: Application<C>> Workload<C, A> {
    /// Opens what a crash has left on `disk`, checks it, and recovers as openraft does.
    pub(crate) async fn resume(
        subject: &Subject<C, A>,
        disk: &SimDisk,
        model: Arc<SharedModel<C>>,
        random: Random,
    ) -> Result<Self, Broken> {
        let mut store = subject.open(disk).await?;
        let found = Found::in_store(&mut store).await?;
        let adopted = {
            let mut model = model.lock();
            model.check(&found)?;
            *model = model.adopt(&found);
            model.clone()
        };
        let end = found.restorable_end().max(found.committed_end());
        let mut reference = Reference::open(subject).await?;
        replay(&mut reference, &adopted, &model, end).await?;
        let forecast = Forecast::behind(subject, adopted.history.values().cloned());
        let mut this = Self {
            subject: subject.clone(),
            disk: disk.clone(),
            store: Some(store),
            model,
            reference,
            forecast,
            random,
            steps: Steps::default(),
        };
        this.recover(end).await?;
        this.steps.count(StepKind::Recover);
        Ok(this)
    }

    /// What openraft does when it starts: installs the snapshot if the state is behind it, applies
    /// what is committed, removes the hole behind a log that is shorter than the state.
    async fn recover(&mut self, end: u64) -> Result<(), Broken> {
        self.model.announce(|next| {
            next.applied_end = end;
            next.durable_applied_end = next.durable_applied_end.max(next.snapshot_end);
            if next.log_end < end {
                (next.log_end, next.purged_end) = (end, end);
            }
        });
        let store = self.store()?;
        let mut helper = StorageHelper::new(&mut store.log, &mut store.state).with_id(C::NodeId::default());
        helper.get_initial_state().await.map_err(std::io::Error::other)?;
        self.model.done();
        self.inspect().await
    }

    /// The process ends in good order and starts again.
    pub(super) async fn reopen(&mut self) -> Result<(), Broken> {
        let health = self.store()?.health.clone();
        drop(self.store.take());
        // A failed close is latched like everything else, and may lose what was applied and not
        // synced.
        health.check().map_err(StorageError::from)?;
        let mut store = self.subject.open(&self.disk).await?;
        let found = Found::in_store(&mut store).await?;
        self.model.copy().check_exactly(&found)?;
        self.store = Some(store);
        self.steps.count(StepKind::Reopen);
        Ok(())
    }
}

/// Applies the entries of `history` before `end` to the reference, and adds the states to `model`.
pub(super) async fn replay<C: TestTypes, A: Application<C>>(
    reference: &mut Reference<C, A>,
    history: &Model<C>,
    model: &SharedModel<C>,
    end: u64,
) -> Result<(), Broken> {
    while reference.end() < end {
        let entry = history.logged(reference.end())?.entry()?;
        let state = Arc::new(reference.apply(entry).await?);
        let mut model = model.lock();
        if let Some(known) = model.states.get(&reference.end()) {
            let same = known.pairs == state.pairs && known.membership == state.membership;
            promise!(
                same,
                "applying up to {} again gives\n{:?} {}, not\n{:?} {}",
                reference.end(),
                state.pairs,
                state.membership,
                known.pairs,
                known.membership
            );
        }
        Arc::make_mut(&mut model.states).insert(reference.end(), state);
    }
    Ok(())
}
