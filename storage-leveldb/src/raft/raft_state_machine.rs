//! openraft's `RaftStateMachine` for [`StateMachine`].

use std::io;
use std::time::Instant;

use futures_util::{Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};

use super::application::{Application, StandardTypes};
use super::command::Command;
use super::state_machine::StateMachine;
use super::snapshot_builder::SnapshotBuilder;
use super::snapshot_file::SnapshotFile;
use crate::error::StorageError;

/// Entries handed to the owner thread at once. How large they are is up to the application's commands, so applying
/// holds as much as this many of the largest.
const ENTRIES_PER_COMMAND: usize = 128;

impl<C: StandardTypes, A: Application<C>> StateMachine<C, A> {
    async fn apply_some(&self, entries: Vec<EntryResponder<C>>) -> Result<(), io::Error> {
        Ok(self.reader.ask(|done| Command::Apply { entries, done }).await?)
    }

    async fn builder(&self) -> SnapshotBuilder<C> {
        let (disk, started) = (self.reader.store.disk.clone(), Instant::now());
        let when_durable = Some(self.reader.ask(|done| Command::MakeDurable { done }).await);
        SnapshotBuilder { when_durable, disk, started }
    }
}

impl<C: StandardTypes, A: Application<C>> RaftStateMachine<C> for StateMachine<C, A> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder<C>;

    async fn applied_state(&mut self) -> Result<(Option<LogIdOf<C>>, StoredMembershipOf<C>), io::Error> {
        let position = self.reader.ask(|done| Command::Position { done }).await?;
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
        let receive = self.inbox.receive.clone();
        let received = tokio::task::spawn_blocking(move || snapshot.into_received(&receive));
        let (received, meta) = (received.await.map_err(io::Error::other)??, meta.clone());
        Ok(self.reader.ask(|done| Command::Install { received, meta, done }).await?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<C, SnapshotFile>>, io::Error> {
        let store = &self.reader.store;
        store.disk.health.check().map_err(StorageError::from)?;
        let durable = store.durable();
        // Nothing was applied that a snapshot could be of.
        if durable.position.applied.is_none() {
            return Ok(None);
        }
        Ok(Some(durable.into_snapshot(&store.disk)?))
    }
}
