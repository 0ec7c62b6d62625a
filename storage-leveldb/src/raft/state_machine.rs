//! openraft's [`RaftStateMachine`] over the apply thread and the tree.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::sync::mpsc;

use super::application::{Application, StandardTypes};
use super::apply_thread::{ApplyThread, Command, WhenDurable};
use super::position::Position;
use super::snapshot_file::{SnapshotFile, SnapshotInbox};
use super::snapshot_receiver::receive;
use super::snapshot_source::SnapshotSource;
use super::state_reader::StateReader;
use crate::error::StorageError;
use crate::lsm::tree::LsmTree;
use crate::lsm::version::Checkpoint;
use crate::owned_thread::OwnedThread;

/// Requests that wait for the thread that applies; more wait for room.
const QUEUE_REQUESTS: usize = 1024;
/// Entries handed to the apply thread at once. How large they are is up to the application's
/// commands, so applying holds as much as this many of the largest.
const ENTRIES_PER_COMMAND: usize = 128;

/// A durable state machine around an [`Application`]: openraft's [`RaftStateMachine`].
///
/// The threads behind it end when the state machine and all its [`StateReader`]s are dropped.
pub struct StateMachine<C: openraft::RaftTypeConfig, A: Application<C>> {
    pub(crate) reader: StateReader<C, A>,
    inbox: SnapshotInbox,
}

impl<C: StandardTypes, A: Application<C>> StateMachine<C, A> {
    /// Starts the threads of an opened state.
    pub(crate) fn start(application: Arc<A>, tree: LsmTree) -> Result<Self, StorageError> {
        let (queue, commands) = mpsc::channel(QUEUE_REQUESTS);
        let tree = Arc::new(tree);
        let apply = ApplyThread::start(application.clone(), tree.clone())?;
        let work = move || apply.run(commands);
        let thread = Arc::new(OwnedThread::latching("raft-state", &tree.disk, tree.dir(), work)?);
        let inbox = SnapshotInbox { receive: receive::<C>, tree: tree.clone() };
        let reader = StateReader { queue, thread, tree, application };
        Ok(Self { reader, inbox })
    }

    /// A handle for queries.
    #[must_use]
    pub fn reader(&self) -> StateReader<C, A> {
        self.reader.clone()
    }

    /// Where snapshots from peers are written.
    #[must_use]
    pub fn inbox(&self) -> SnapshotInbox {
        self.inbox.clone()
    }

    async fn apply_some(&self, entries: Vec<EntryResponder<C>>) -> Result<(), io::Error> {
        Ok(self.reader.ask(|done| Command::Apply { entries, done }).await?)
    }

    async fn builder(&self) -> SnapshotBuilder<C> {
        let (tree, started) = (self.reader.tree.clone(), Instant::now());
        let when_durable = Some(self.reader.ask(|done| Command::MakeDurable { done }).await);
        SnapshotBuilder { when_durable, tree, started, _of: PhantomData }
    }
}

fn snapshot_of<C: StandardTypes>(
    tree: &LsmTree,
    checkpoint: &Checkpoint,
) -> Result<SnapshotOf<C, SnapshotFile>, StorageError> {
    let (meta, source) = SnapshotSource::new::<C>(tree, checkpoint)?;
    Ok(SnapshotOf::<C, SnapshotFile> { meta, snapshot: SnapshotFile::sending(source) })
}

impl<C: StandardTypes, A: Application<C>> RaftStateMachine<C> for StateMachine<C, A> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder<C>;

    async fn applied_state(&mut self) -> Result<(Option<LogIdOf<C>>, StoredMembershipOf<C>), io::Error> {
        let position: Position<C> = self.reader.ask(|done| Command::Position { done }).await?;
        Ok((position.applied, position.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<C>, io::Error>> + Unpin + OptionalSend,
    {
        let mut some = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            some.push(entry);
            if some.len() >= ENTRIES_PER_COMMAND {
                self.apply_some(std::mem::take(&mut some)).await?;
            }
        }
        if some.is_empty() { Ok(()) } else { self.apply_some(some).await }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Self::SnapshotBuilder> {
        Some(self.builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<C>,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let inbox = self.inbox();
        let received = tokio::task::spawn_blocking(move || snapshot.into_received(&inbox));
        let (received, meta) = (received.await.map_err(io::Error::other)??, meta.clone());
        Ok(self.reader.ask(|done| Command::Install { received, meta, done }).await?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<C, SnapshotFile>>, io::Error> {
        let tree = &self.reader.tree;
        tree.disk.health.check().map_err(StorageError::from)?;
        let checkpoint = tree.checkpoint();
        // Nothing was applied that a snapshot could be of.
        let position = Position::<C>::of_frontier(tree, &checkpoint.frontier).map_err(StorageError::from)?;
        if position.applied.is_none() {
            return Ok(None);
        }
        Ok(Some(snapshot_of::<C>(tree, &checkpoint)?))
    }
}

/// Makes one snapshot of the state at the moment when this was made: waits until that state is
/// durable.
pub struct SnapshotBuilder<C> {
    when_durable: Option<Result<WhenDurable, StorageError>>,
    tree: Arc<LsmTree>,
    started: Instant,
    _of: PhantomData<fn() -> C>,
}

impl<C: StandardTypes> RaftSnapshotBuilder<C> for SnapshotBuilder<C> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<C, SnapshotFile>, io::Error> {
        let when_durable = self.when_durable.take().unwrap_or(Err(StorageError::Closed))?;
        let checkpoint = when_durable.await;
        // The flush thread answers nothing if it has ended with a fault.
        let disk = &self.tree.disk;
        disk.health.check().map_err(StorageError::from)?;
        let snapshot = snapshot_of::<C>(&self.tree, &checkpoint.map_err(|_| StorageError::Closed)?)?;
        disk.observer().snapshot_built(self.started.elapsed());
        Ok(snapshot)
    }
}
