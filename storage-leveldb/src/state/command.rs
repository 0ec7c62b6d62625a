//! What the owner thread is asked to do.

use openraft::RaftTypeConfig;
use openraft::storage::EntryResponder;
use std::path::PathBuf;
use tokio::sync::oneshot;

use super::application::Application;
use super::database::CheckpointDirectory;
use super::position::Position;
use crate::error::StorageError;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// One request, served in order.
pub(super) enum Command<C: RaftTypeConfig, A: Application<C>> {
    /// Apply committed entries and answer those who wait for them.
    Apply { entries: Vec<EntryResponder<C>>, done: Reply<()> },
    /// Run a query.
    Query { query: A::Query, done: Reply<A::Answer> },
    /// How far is the state machine?
    Position { done: Reply<Position<C>> },
    /// Make what is applied durable, and a copy of it in the directory.
    Checkpoint { directory: CheckpointDirectory, done: Reply<Checkpoint<C>> },
    /// Go on with another database, which is complete and durable.
    Switch { database: PathBuf, done: Reply<()> },
}

/// The state as it was at one position.
pub(super) struct Checkpoint<C: RaftTypeConfig> {
    pub(super) directory: CheckpointDirectory,
    pub(super) position: Position<C>,
}
