//! openraft's `RaftSnapshotBuilder`: waits until the state is durable, which makes it the snapshot.

use std::io;
use std::time::Instant;

use openraft::RaftSnapshotBuilder;
use openraft::type_config::alias::SnapshotOf;

use super::application::StandardTypes;
use super::command::WhenDurable;
use super::snapshot_file::SnapshotFile;
use crate::disk::GuardedDisk;
use crate::error::StorageError;

/// Makes one snapshot of the state at the moment when this was made.
pub struct SnapshotBuilder<C: openraft::RaftTypeConfig> {
    pub(crate) when_durable: Option<Result<WhenDurable<C>, StorageError>>,
    pub(crate) disk: GuardedDisk,
    pub(crate) started: Instant,
}

impl<C: StandardTypes> RaftSnapshotBuilder<C> for SnapshotBuilder<C> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<C, SnapshotFile>, io::Error> {
        let when_durable = self.when_durable.take().unwrap_or(Err(StorageError::Closed))?;
        let durable = when_durable.await;
        // Whoever would have answered has ended with a fault.
        self.disk.health.check().map_err(StorageError::from)?;
        let snapshot = durable.map_err(|_| StorageError::Closed)?.into_snapshot(&self.disk)?;
        self.disk.observer().snapshot_built(self.started.elapsed());
        Ok(snapshot)
    }
}
