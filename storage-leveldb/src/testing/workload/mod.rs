//! Everything openraft does to a storage, in random order: append, vote, truncate, commit, apply,
//! snapshot, purge, install, restart. Keeps a model of what was asked and what was promised.

mod latch;
mod log;
mod start;
mod state;
mod step;

use std::sync::Arc;

use openraft::EntryPayload;

use super::broken::Broken;
use super::forecast::Forecast;
use super::found::Found;
use super::ids::{log_id, logged, membership};
use super::model::{Logged, SharedModel};
use super::random::Random;
use super::reference::Reference;
use super::sim_disk::SimDisk;
use super::subject::{Store, Subject, TestTypes};
use crate::health::Health;
use crate::raft::Application;

pub use self::step::StepKind;
pub(crate) use self::step::Steps;

/// A storage under work.
///
/// Invariant: between two steps `reference` has applied what `model` says is applied, and
/// `forecast` has the log that `model` has.
pub(crate) struct Workload<C: openraft::RaftTypeConfig, A: Application<C>> {
    subject: Subject<C, A>,
    disk: SimDisk,
    store: Option<Store<C, A>>,
    model: Arc<SharedModel<C>>,
    reference: Reference<C, A>,
    /// What the next command will meet.
    forecast: Forecast<C, A>,
    random: Random,
    /// What has been done so far.
    steps: Steps,
}

impl<C: TestTypes, A: Application<C>> Workload<C, A> {
    /// Opens an empty storage on `disk`.
    pub(crate) async fn begin(
        subject: &Subject<C, A>,
        disk: &SimDisk,
        model: Arc<SharedModel<C>>,
        random: Random,
    ) -> Result<Self, Broken> {
        let reference = Reference::open(subject).await?;
        let store = Some(subject.open(disk).await?);
        let forecast = Forecast::behind(subject, []);
        let (subject, disk, steps) = (subject.clone(), disk.clone(), Steps::default());
        Ok(Self { subject, disk, store, model, reference, forecast, random, steps })
    }

    pub(crate) fn store(&mut self) -> Result<&mut Store<C, A>, Broken> {
        self.store.as_mut().ok_or_else(|| Broken::Promise("the storage is not open".to_owned()))
    }

    /// What has been done so far, by kind.
    pub(crate) fn steps(&self) -> Steps {
        self.steps.clone()
    }

    /// Closes the storage; answers its latch.
    pub(crate) fn close(&mut self) -> Option<Health> {
        self.store.take().map(|store| store.health.clone())
    }

    /// Compares everything with the model; nothing has been lost since it was opened.
    pub(crate) async fn inspect(&mut self) -> Result<(), Broken> {
        let found = Found::in_store(self.store()?).await?;
        self.model.copy().check_exactly(&found)
    }

    /// Runs `steps` random steps; a failure tells which there were.
    pub(crate) async fn run(&mut self, steps: usize) -> Result<(), Broken> {
        let mut trace = format!("began with {}", self.model.lock().summary());
        for step in 1..=steps {
            if let Err(e) = self.checked_step().await {
                let (reason, trace) = (Box::new(e), format!("in step {step}; {trace}"));
                return Err(Broken::During { reason, trace });
            }
            trace.push_str(&format!("\nstep {step}: {}", self.model.lock().summary()));
        }
        Ok(())
    }

    async fn checked_step(&mut self) -> Result<(), Broken> {
        self.step().await?;
        let store = self.store()?;
        let held = store.log.check_invariants().and_then(|()| store.reader.check_invariants());
        held.map_err(|broken| Broken::Promise(format!("it does not hold that {broken}")))
    }

    async fn step(&mut self) -> Result<(), Broken> {
        match self.random.below(22) {
            0..=8 => self.append_some().await,
            9..=14 => self.apply().await,
            15 => self.vote_some().await,
            16 => self.truncate().await,
            17 | 18 => self.snapshot().await,
            19 => self.install().await,
            20 => self.reopen().await,
            _ => self.purge_some().await,
        }
    }

    /// Entries that could follow those before `first`.
    async fn entries(&mut self, first: u64, most: u64) -> Result<Vec<Arc<Logged<C>>>, Broken> {
        let term = self.model.lock().after().term;
        let end = first.saturating_add(1).saturating_add(self.random.below(most));
        let mut entries = Vec::new();
        for index in first..end {
            let payload = self.payload(index).await?;
            let entry = logged::<C>(log_id::<C>(term, index), payload)?;
            self.forecast.push(Arc::clone(&entry));
            entries.push(entry);
        }
        Ok(entries)
    }

    /// openraft begins every log with a membership: an application never sees a command at index 0.
    async fn payload(&mut self, index: u64) -> Result<EntryPayload<C::D, C::NodeId, C::Node>, Broken> {
        if index == 0 {
            return Ok(EntryPayload::Membership(membership::<C>()));
        }
        Ok(match self.random.below(20) {
            0 => EntryPayload::Blank,
            1 => EntryPayload::Membership(membership::<C>()),
            _ => EntryPayload::Normal(self.forecast.command(&mut self.random).await?),
        })
    }
}
