//! Queries from anywhere in the process.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::application::{Application, StandardTypes};
use super::apply_thread::{Command, Reply};
use crate::error::StorageError;
use crate::lsm::tree::LsmTree;
use crate::lsm::user_code::for_an_answer;
use crate::lsm::view::View;
use crate::owned_thread::OwnedThread;
use crate::sizes::LiveDirs;

/// Asks the state machine. Cheap to clone, and used by any number of threads at a time.
///
/// A query sees everything applied before it was asked, and nothing of what is applied while it
/// runs. It says nothing about what other members have committed since: for a linearizable read,
/// first make sure of the read index with openraft.
pub struct StateReader<C: openraft::RaftTypeConfig, A: Application<C>> {
    pub(crate) queue: mpsc::Sender<Command<C>>,
    /// The last handle waits for it, after every queue was dropped.
    pub(crate) thread: Arc<OwnedThread>,
    pub(crate) tree: Arc<LsmTree>,
    pub(crate) application: Arc<A>,
}

impl<C: StandardTypes, A: Application<C>> Clone for StateReader<C, A> {
    fn clone(&self) -> Self {
        let (queue, thread) = (self.queue.clone(), self.thread.clone());
        Self { queue, thread, tree: self.tree.clone(), application: self.application.clone() }
    }
}

impl<C: StandardTypes, A: Application<C>> StateReader<C, A> {
    /// Answers a query on the calling thread: from memory, or with a read of the disk for each part
    /// that has to be looked into.
    ///
    /// # Errors
    /// A storage fault, or [`StorageError::QueryPanicked`], which concerns this query only.
    pub fn query_blocking(&self, query: A::Query) -> Result<A::Answer, StorageError> {
        self.tree.disk.health.check()?;
        let pinned = self.tree.pin();
        let mut view = View::new(&pinned);
        for_an_answer(&self.tree.disk, || self.application.query(&mut view, query))
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

    /// Whether the part of the state that is in memory only is what was applied: a bit that was
    /// flipped in it is found before it is on disk, where it would have a checksum that fits. To be
    /// asked from time to time, on a thread for blocking work: it reads all of that part, and
    /// nothing waits for it for longer than some microseconds.
    ///
    /// # Errors
    /// It is not, or another fault; it is latched.
    pub fn check_memory_blocking(&self) -> Result<(), StorageError> {
        self.tree.disk.health.check()?;
        self.tree.check_memory()
    }

    /// What must hold between two applies.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        self.tree.check_invariants()
    }

    /// Tells which tables make up the state; holds nothing open.
    pub(crate) fn live_dirs(&self) -> LiveDirs {
        let tree = Arc::downgrade(&self.tree);
        Arc::new(move || tree.upgrade().map(|tree| tree.live_dirs()).unwrap_or_default())
    }

    /// Sends a command and waits for the answer.
    pub(crate) async fn ask<T, E: From<StorageError>>(
        &self,
        command: impl FnOnce(Reply<T, E>) -> Command<C>,
    ) -> Result<T, E> {
        self.tree.disk.health.check().map_err(StorageError::from)?;
        let (done, answer) = oneshot::channel();
        self.queue.send(command(done)).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}
