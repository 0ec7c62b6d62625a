//! Queries from anywhere in the process.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::application::{Application, StandardTypes};
use crate::lsm::user_code::for_an_answer;
use super::command::{Command, Reply};
use crate::lsm::tree::Store;
use crate::lsm::view::View;
use crate::error::StorageError;
use crate::owner_thread::OwnerThread;
use crate::sizes::CountingDirs;

/// Asks the state machine. Cheap to clone, and used by any number of threads at a time.
///
/// A query sees everything applied before it was asked, and nothing of what is applied while it
/// runs. It says nothing about what other members have committed since: for a linearizable read,
/// first make sure of the read index with openraft.
pub struct StateReader<C: openraft::RaftTypeConfig, A: Application<C>> {
    pub(crate) queue: Arc<OwnerThread<Command<C>>>,
    pub(crate) store: Arc<Store<C>>,
    pub(crate) application: Arc<A>,
}

impl<C: StandardTypes, A: Application<C>> Clone for StateReader<C, A> {
    fn clone(&self) -> Self {
        let (queue, store, application) = (self.queue.clone(), self.store.clone(), self.application.clone());
        Self { queue, store, application }
    }
}

impl<C: StandardTypes, A: Application<C>> StateReader<C, A> {
    /// Answers a query on the calling thread: from memory, or with a read of the disk for each part
    /// that has to be looked into.
    ///
    /// # Errors
    /// A storage fault, or [`StorageError::QueryPanicked`], which concerns this query only.
    pub fn query_blocking(&self, query: A::Query) -> Result<A::Answer, StorageError> {
        self.store.disk.health.check()?;
        let pinned = self.store.pin();
        let mut view = View::new(&pinned);
        for_an_answer(&self.store.disk, || self.application.query(&mut view, query))
    }

    /// The same for tasks. It does not hand the query to another thread, which would cost more than
    /// most queries do: one that reads much from a slow disk is better asked by
    /// [`query_blocking`](Self::query_blocking) on a thread for that.
    ///
    /// # Errors
    /// As for [`query_blocking`](Self::query_blocking).
    #[allow(
        clippy::unused_async,
        reason = "whether a query needs a thread is decided here, not by the callers"
    )]
    pub async fn query(&self, query: A::Query) -> Result<A::Answer, StorageError> {
        self.query_blocking(query)
    }

    /// What must hold between two applies.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.store.check_invariants()
    }

    /// Tells which runs make up the state; holds nothing open.
    pub(crate) fn counting_dirs(&self) -> CountingDirs {
        let store = Arc::downgrade(&self.store);
        Arc::new(move || store.upgrade().map(|store| store.counting_dirs()).unwrap_or_default())
    }

    /// Sends a command and waits for the answer.
    pub(crate) async fn ask<T, E: From<StorageError>>(
        &self,
        command: impl FnOnce(Reply<T, E>) -> Command<C>,
    ) -> Result<T, E> {
        self.store.disk.health.check().map_err(StorageError::from)?;
        let (done, answer) = oneshot::channel();
        self.queue.send(command(done)).await?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}
