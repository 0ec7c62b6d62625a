//! Queries from anywhere in the process.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::application::{Application, StandardTypes};
use super::command::{Command, Reply};
use crate::error::StorageError;
use crate::health::Health;
use crate::owner_thread::OwnerThread;

/// Asks the state machine. Cheap to clone.
///
/// A query sees everything applied before it was asked. It says nothing about what other members have
/// committed since: for a linearizable read, first make sure of the read index with openraft.
pub struct StateReader<C: openraft::RaftTypeConfig, A: Application<C>> {
    pub(super) queue: Arc<OwnerThread<Command<C, A>>>,
    pub(super) health: Health,
}

impl<C: StandardTypes, A: Application<C>> Clone for StateReader<C, A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), health: self.health.clone() }
    }
}

impl<C: StandardTypes, A: Application<C>> StateReader<C, A> {
    /// Answers a query.
    ///
    /// # Errors
    /// A storage fault, or [`StorageError::Closed`].
    pub async fn query(&self, query: A::Query) -> Result<A::Answer, StorageError> {
        self.ask(|done| Command::Query { query, done }).await
    }

    /// Sends a command and waits for the answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command<C, A>,
    ) -> Result<T, StorageError> {
        self.health.check()?;
        let (done, answer) = oneshot::channel();
        self.queue.send(command(done)).await?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}
