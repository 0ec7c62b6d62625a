//! The handle that openraft holds of the state machine.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::application::{Application, StandardTypes};
use super::snapshot_inbox::SnapshotInbox;
use super::apply_thread::Owner;
use super::state_reader::StateReader;
use super::snapshot_receiver::receive_into;
use crate::lsm::tree::Store;
use crate::error::StorageError;
use crate::owner_thread::{OwnerThread, latching};

/// Requests that wait for the thread that applies; more wait for room.
const QUEUE_REQUESTS: usize = 1024;

/// A durable state machine around an [`Application`]: openraft's
/// [`RaftStateMachine`](openraft::storage::RaftStateMachine).
///
/// The threads behind it end when the state machine and all its [`StateReader`]s are dropped.
pub struct StateMachine<C: openraft::RaftTypeConfig, A: Application<C>> {
    pub(crate) reader: StateReader<C, A>,
    pub(crate) inbox: SnapshotInbox,
}

impl<C: StandardTypes, A: Application<C>> StateMachine<C, A> {
    /// Starts the threads of an opened state.
    pub(crate) fn start(application: Arc<A>, store: Store<C>) -> Result<Self, StorageError> {
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        let store = Arc::new(store);
        let (its_application, its_store) = (application.clone(), store.clone());
        let (thread, ()) = OwnerThread::start("raft-state", sender, move || {
            let owner = Owner::start(its_application, its_store.clone())?;
            Ok(((), move || latching(&its_store.disk, its_store.dir(), || owner.run(receiver))))
        })?;
        let inbox = SnapshotInbox { receive: receive_into(&store), health: store.disk.health.clone() };
        let reader = StateReader { queue: Arc::new(thread), store, application };
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
}
