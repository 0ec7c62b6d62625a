//! What the thread that applies is asked to do.

use openraft::RaftTypeConfig;
use openraft::storage::EntryResponder;
use openraft::type_config::alias::SnapshotMetaOf;
use tokio::sync::oneshot;

use super::snapshot_source::Durable;
use super::position::Position;
use super::snapshot_receiver::Received;
use crate::error::StorageError;
use super::snapshot::SnapshotError;

pub(crate) type Reply<T, E = StorageError> = oneshot::Sender<Result<T, E>>;
/// Answers nothing if the disk fails before.
pub(crate) type WhenDurable<C> = oneshot::Receiver<Durable<C>>;

/// One request, served in order.
pub(crate) enum Command<C: RaftTypeConfig> {
    /// Apply committed entries and answer those who wait for them.
    Apply { entries: Vec<EntryResponder<C>>, done: Reply<()> },
    /// How far is the state machine?
    Position { done: Reply<Position<C>> },
    /// Begin to make durable what is applied.
    MakeDurable { done: Reply<WhenDurable<C>> },
    /// Go on with the state of a snapshot.
    Install { received: Received, meta: SnapshotMetaOf<C>, done: Reply<(), SnapshotError> },
}
