//! The same application on a store that never fails: it tells what the state must be after each entry.

use std::sync::Arc;

use openraft::RaftSnapshotBuilder;
use openraft::Snapshot;
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::{CommittedLeaderIdOf, StoredMembershipOf};

use super::broken::Broken;
use super::inspected::Pairs;
use super::sim_disk::SimDisk;
use super::subject::{Store, Subject, TestTypes};
use crate::engine::MemoryEngine;
use crate::options::Options;
use crate::state::{Application, SnapshotFile};

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

/// Invariant: the entries `0..end` have been applied.
pub(crate) struct Reference<C: openraft::RaftTypeConfig, A: Application<C>> {
    store: Store<C, A>,
    end: u64,
}

impl<C: TestTypes, A: Application<C>> Reference<C, A> {
    pub(crate) async fn open(subject: &Subject<C, A>) -> Result<Self, Broken> {
        let mut subject = subject.clone();
        subject.options = Options { engine: Some(Arc::new(MemoryEngine::default())), ..subject.options };
        Ok(Self { store: subject.open(&SimDisk::default()).await?, end: 0 })
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
        self.store.state.apply(futures_util::stream::iter([Ok((entry, None))])).await?;
        self.end = self.end.saturating_add(1);
        self.expected().await
    }

    /// A snapshot of the state, as another member would send it.
    pub(crate) async fn snapshot(&mut self) -> Result<ReferenceSnapshot<C>, Broken> {
        let mut builder = self.store.state.get_snapshot_builder().await;
        Ok(builder.build_snapshot().await?)
    }
}
