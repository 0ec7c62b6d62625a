//! openraft's `RaftSnapshotBuilder`: writes a snapshot file from a checkpoint, while the state goes on.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use openraft::RaftSnapshotBuilder;
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};

use super::application::StandardTypes;
use super::command::Checkpoint;
use super::key;
use super::view::View;
use crate::engine::{EngineFactory, KeyRange, ScanLimit};
use crate::error::StorageError;
use crate::snapshot::{SnapshotDirectory, SnapshotFile};

/// Pairs read from the checkpoint at once.
const PAGE: ScanLimit = ScanLimit { pairs: 4096, bytes: 1024 * 1024 };

/// Builds one snapshot of the state at the moment it was made.
pub struct SnapshotBuilder<C: openraft::RaftTypeConfig> {
    pub(super) checkpoint: Option<Result<Checkpoint<C>, StorageError>>,
    pub(super) factory: Arc<dyn EngineFactory>,
    pub(super) snapshots: SnapshotDirectory,
}

impl<C: StandardTypes> RaftSnapshotBuilder<C> for SnapshotBuilder<C> {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<C, SnapshotFile>, io::Error> {
        let checkpoint = self.checkpoint.take().unwrap_or(Err(StorageError::Closed))?;
        let (factory, snapshots) = (self.factory.clone(), self.snapshots.clone());
        let build = move || build(checkpoint, factory.as_ref(), &snapshots);
        Ok(tokio::task::spawn_blocking(build).await.map_err(io::Error::other)??)
    }
}

/// The snapshot and the checkpoint's durability are both complete when this returns.
fn build<C: StandardTypes>(
    checkpoint: Checkpoint<C>,
    factory: &dyn EngineFactory,
    snapshots: &SnapshotDirectory,
) -> Result<SnapshotOf<C, SnapshotFile>, StorageError> {
    let started = Instant::now();
    let position = checkpoint.position;
    let meta = SnapshotMetaOf::<C> {
        last_log_id: position.applied.clone(),
        last_membership: position.membership.clone(),
    };
    let mut writer = snapshots.writer::<C>(&meta)?;
    let mut engine = factory.open(checkpoint.directory.path())?;
    let mut view = View::new(engine.as_mut(), position.applied_index());
    let mut range = KeyRange::all();
    loop {
        let page = view.scan(range.clone(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        range.start = Bytes::from([last, key::AFTER].concat());
        for (key, value) in &page {
            writer.pair(key, value)?;
        }
    }
    drop(engine);
    let snapshot = writer.finish()?;
    snapshots.observer().snapshot_built(started.elapsed());
    Ok(SnapshotOf::<C, SnapshotFile> { meta, snapshot })
}
