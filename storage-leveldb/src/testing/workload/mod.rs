//! Everything openraft does to a storage, in random order: append, vote, truncate, commit, apply, snapshot,
//! purge, install, restart. Keeps a model of what was asked and what was promised.

mod latch;
mod start;

use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftTerm;
use openraft::{EntryPayload, RaftLogReader, RaftSnapshotBuilder};
use tokio::io::AsyncWriteExt;

use self::start::replay;
use super::broken::{Broken, promise};
use super::found::{Found, end_of};
use super::ids::{log_id, logged, membership, vote};
use super::model::{Logged, SharedModel};
use super::random::Random;
use super::reference::Reference;
use super::sim_disk::SimDisk;
use super::subject::{Store, Subject, TestTypes};
use crate::error::StorageError;
use crate::state::Application;

/// Entries of one append.
const MAX_APPEND_ENTRIES: u64 = 5;
/// How far the leader that sends a snapshot is ahead, in entries.
const MAX_AHEAD_ENTRIES: u64 = 4;

/// A storage under work.
///
/// Invariant: between two steps `reference` has applied what `model` says is applied.
pub(crate) struct Workload<C: TestTypes, A: Application<C>> {
    subject: Subject<C, A>,
    disk: SimDisk,
    store: Option<Store<C, A>>,
    model: Arc<SharedModel<C>>,
    reference: Reference<C, A>,
    random: Random,
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
        Ok(Self { subject: subject.clone(), disk: disk.clone(), store, model, reference, random })
    }

    pub(crate) fn store(&mut self) -> Result<&mut Store<C, A>, Broken> {
        self.store.as_mut().ok_or_else(|| Broken::Promise("the storage is not open".to_owned()))
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
            if let Err(e) = self.step().await {
                let (reason, trace) = (Box::new(e), format!("in step {step}; {trace}"));
                return Err(Broken::During { reason, trace });
            }
            trace.push_str(&format!("\nstep {step}: {}", self.model.lock().summary()));
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Broken> {
        match self.random.below(22) {
            0..=8 => self.append().await,
            9..=14 => self.apply().await,
            15 => self.vote().await,
            16 => self.truncate().await,
            17 | 18 => self.snapshot().await,
            19 => self.install().await,
            20 => self.reopen().await,
            _ => self.purge_some().await,
        }
    }

    /// Entries that could follow those before `first`.
    fn entries(&mut self, first: u64, most: u64) -> Result<Vec<Arc<Logged<C>>>, Broken> {
        let term = self.model.lock().term;
        let end = first.saturating_add(1).saturating_add(self.random.below(most));
        (first..end).map(|index| logged::<C>(log_id::<C>(term, index), self.payload())).collect()
    }

    fn payload(&mut self) -> EntryPayload<C::D, C::NodeId, C::Node> {
        match self.random.below(20) {
            0 => EntryPayload::Blank,
            1 => EntryPayload::Membership(membership::<C>()),
            _ => EntryPayload::Normal(self.subject.command(&mut self.random)),
        }
    }

    async fn append(&mut self) -> Result<(), Broken> {
        let first = self.model.lock().log_end;
        let new = self.entries(first, MAX_APPEND_ENTRIES)?;
        let entries = new.iter().map(|logged| logged.entry()).collect::<Result<Vec<_>, _>>()?;
        self.model.announce(|next| {
            next.log_end = first.saturating_add(new.len() as u64);
            next.extend(new);
            next.log_is_synced();
        });
        let (done, flushed) = C::oneshot();
        self.store()?.log.append(entries, IOFlushed::signal(done)).await?;
        flushed.await.map_err(|_| StorageError::Closed)??;
        self.model.done();
        Ok(())
    }

    async fn vote(&mut self) -> Result<(), Broken> {
        let term = self.model.lock().term.next();
        let vote = vote::<C>(term);
        self.model.announce(|next| {
            next.vote = Some(vote.clone());
            next.term = term;
            next.log_is_synced();
        });
        self.store()?.log.save_vote(&vote).await?;
        self.model.done();
        Ok(())
    }

    /// Another leader has other entries behind the committed ones.
    async fn truncate(&mut self) -> Result<(), Broken> {
        let (low, high) = {
            let model = self.model.lock();
            (model.decided_end, model.log_end)
        };
        if low >= high {
            return Ok(());
        }
        let end = low.saturating_add(self.random.below(high.saturating_sub(low)));
        let last = self.model.lock().id_before(end);
        self.model.announce(|next| {
            next.log_end = end;
            next.truncate(end);
            next.log_is_synced();
        });
        self.store()?.log.truncate_after(last).await?;
        self.model.done();
        Ok(())
    }

    async fn apply(&mut self) -> Result<(), Broken> {
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
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<(), Broken> {
        let (snapshot_end, end) = {
            let model = self.model.lock();
            (model.snapshot_end, model.applied_end)
        };
        if end <= snapshot_end {
            return Ok(());
        }
        self.model.announce(|next| {
            next.snapshot_end = end;
            next.durable_applied_end = end;
        });
        let mut builder = self.store()?.state.get_snapshot_builder().await;
        let snapshot = builder.build_snapshot().await?;
        let built = end_of::<C>(snapshot.meta.last_log_id.as_ref());
        promise!(built == end, "a snapshot up to {built} of a state at {end}");
        self.model.done();
        self.purge_some().await
    }

    /// openraft purges up to the snapshot at most.
    async fn purge_some(&mut self) -> Result<(), Broken> {
        let (purged_end, snapshot_end) = {
            let model = self.model.lock();
            (model.purged_end, model.snapshot_end)
        };
        if purged_end >= snapshot_end {
            return Ok(());
        }
        let more = self.random.below(snapshot_end.saturating_sub(purged_end));
        self.purge(purged_end.saturating_add(1).saturating_add(more)).await
    }

    async fn purge(&mut self, end: u64) -> Result<(), Broken> {
        let Some(last) = self.model.lock().id_before(end) else {
            return Ok(());
        };
        self.model.announce(|next| {
            next.purged_end = end;
            next.log_end = next.log_end.max(end);
        });
        self.store()?.log.purge(last).await?;
        self.model.done();
        Ok(())
    }

    /// A leader that is some entries ahead sends its snapshot.
    async fn install(&mut self) -> Result<(), Broken> {
        let log_end = {
            let mut model = self.model.lock();
            // Its log begins with all of ours.
            model.decided_end = model.log_end;
            model.log_end
        };
        let ahead = self.entries(log_end, MAX_AHEAD_ENTRIES)?;
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
        self.purge(end).await
    }
}
