//! The handle that openraft holds of the state machine.

use std::sync::Arc;

use openraft::type_config::alias::LogIdOf;
use tokio::sync::mpsc;

use super::application::{Application, StandardTypes};
use super::database::StateDirectory;
use super::owner::Owner;
use super::reader::StateReader;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::owner_thread::{OwnerThread, latching};
use crate::snapshot::SnapshotDirectory;

/// Requests that wait for the owner thread; more wait for room.
const QUEUE_REQUESTS: usize = 1024;

/// A durable state machine around an [`Application`]: openraft's
/// [`RaftStateMachine`](openraft::storage::RaftStateMachine).
///
/// The thread behind it ends when the state machine and all its [`StateReader`]s are dropped.
pub struct StateMachine<C: openraft::RaftTypeConfig, A: Application<C>> {
    pub(super) reader: StateReader<C, A>,
    pub(super) factory: Arc<dyn EngineFactory>,
    pub(super) directory: StateDirectory,
    pub(super) snapshots: SnapshotDirectory,
}

impl<C: StandardTypes, A: Application<C>> StateMachine<C, A> {
    /// Opens the state and starts its thread; answers also what was applied last. Blocks on the disk.
    pub(crate) fn open(
        application: A,
        factory: Arc<dyn EngineFactory>,
        directory: StateDirectory,
        snapshots: SnapshotDirectory,
        cache_bytes: usize,
    ) -> Result<(Self, Option<LogIdOf<C>>), StorageError> {
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        let application = Arc::new(application);
        let health = directory.disk().health.clone();
        let (its_factory, its_directory) = (factory.clone(), directory.clone());
        // The engine never leaves the thread that opens it.
        let (thread, applied) = OwnerThread::start("raft-state", sender, move || {
            let (disk, database) = (its_directory.disk().clone(), its_directory.active()?);
            let owner = Owner::open(application, its_factory, its_directory, cache_bytes)?;
            Ok((owner.applied(), move || latching(&disk, &database, || owner.run(receiver))))
        })?;
        let reader = StateReader { queue: Arc::new(thread), health };
        Ok((Self { reader, factory, directory, snapshots }, applied))
    }

    /// A handle for queries.
    #[must_use]
    pub fn reader(&self) -> StateReader<C, A> {
        self.reader.clone()
    }
}
