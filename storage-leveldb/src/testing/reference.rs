//! The same application on a store that never fails: it tells what the state must be after each
//! entry.

use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::{CommittedLeaderIdOf, StoredMembershipOf};
use openraft::{EntryPayload, RaftSnapshotBuilder, Snapshot};

use super::author::Effect;
use super::broken::Broken;
use super::inspected::{Inspected, Pairs};
use super::recorded::{Answers, Recorded};
use super::sim_disk::SimDisk;
use super::subject::{Subject, TestTypes};
use crate::raft::{Application, SnapshotFile};
use crate::storage::Storage;

/// The state after one entry.
#[derive(Debug)]
pub(crate) struct Expected<C: openraft::RaftTypeConfig> {
    pub(crate) pairs: Pairs,
    pub(crate) membership: StoredMembershipOf<C>,
}

pub(crate) type ReferenceSnapshot<C> = Snapshot<
    CommittedLeaderIdOf<C>,
    <C as openraft::RaftTypeConfig>::NodeId,
    <C as openraft::RaftTypeConfig>::Node,
    SnapshotFile,
>;

/// Invariant: the entries `0..end` have been applied, and `pairs` are those behind them.
pub(crate) struct Reference<C: openraft::RaftTypeConfig, A: Application<C>> {
    subject: Subject<C, A>,
    store: Storage<C, Inspected<Recorded<A>>>,
    answers: Answers,
    pairs: Pairs,
    end: u64,
}

impl<C: TestTypes, A: Application<C>> Reference<C, A> {
    pub(crate) async fn open(subject: &Subject<C, A>) -> Result<Self, Broken> {
        let (subject, answers) = (subject.clone(), Answers::default());
        let recorded =
            Recorded { inner: subject.application(), answers: answers.clone(), merges_at_once: false };
        let store = subject.in_memory().open_as(&SimDisk::default(), Inspected(recorded)).await?;
        Ok(Self { subject, store, answers, pairs: Pairs::new(), end: 0 })
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The state before anything is applied.
    pub(crate) async fn expected(&mut self) -> Result<Expected<C>, Broken> {
        let pairs = self.store.reader.query(()).await?;
        let (_, membership) = self.store.state.applied_state().await?;
        Ok(Expected { pairs, membership })
    }

    /// Applies the next entry; answers the state after it.
    pub(crate) async fn apply(&mut self, entry: C::Entry) -> Result<Expected<C>, Broken> {
        let watched = self.subject.watcher().and(match &entry.payload {
            EntryPayload::Normal(command) => Some(command.clone()),
            _ => None,
        });
        self.store.state.apply(futures_util::stream::iter([Ok((entry, None))])).await?;
        self.end += 1;
        let expected = self.expected().await?;
        let before = std::mem::replace(&mut self.pairs, expected.pairs.clone());
        let answers = self.answers.take();
        if let (Some(watcher), Some(command)) = (self.subject.watcher(), watched)
            && let Some(answer) = answers.into_values().next_back()
        {
            watcher(&Effect { command: &command, answer: &answer, before: &before, after: &self.pairs });
        }
        Ok(expected)
    }

    /// A snapshot of the state, as another member would send it.
    pub(crate) async fn snapshot(&mut self) -> Result<ReferenceSnapshot<C>, Broken> {
        let mut builder = self.store.state.get_snapshot_builder().await;
        Ok(builder.build_snapshot().await?)
    }
}
