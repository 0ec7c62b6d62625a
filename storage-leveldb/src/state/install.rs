//! Replacing the state by a snapshot.

use std::path::PathBuf;
use std::sync::Arc;

use openraft::RaftTypeConfig;
use openraft::type_config::alias::SnapshotMetaOf;

use super::database::StateDirectory;
use super::key;
use super::position::Position;
use crate::engine::{Batch, Durability, Engine, EngineFactory};
use crate::snapshot::{SnapshotError, SnapshotReader};

/// Pairs are written in batches of about this size.
const BATCH_BYTES: usize = 1024 * 1024;

/// Fills a new database from a snapshot; it is complete and durable when this returns, and does not count
/// yet.
///
/// # Errors
/// What is wrong with the snapshot, or a fault of this node's disk.
pub(super) fn fill_database<C: RaftTypeConfig>(
    factory: &Arc<dyn EngineFactory>,
    directory: &StateDirectory,
    snapshot: &mut SnapshotReader<C>,
    meta: &SnapshotMetaOf<C>,
) -> Result<PathBuf, SnapshotError> {
    let database = directory.new_database();
    let filled = fill(factory.open(&database)?, snapshot, meta);
    if filled.is_err() {
        directory.remove(&database)?;
    }
    filled.map(|()| database)
}

fn fill<C: RaftTypeConfig>(
    mut engine: Box<dyn Engine>,
    snapshot: &mut SnapshotReader<C>,
    meta: &SnapshotMetaOf<C>,
) -> Result<(), SnapshotError> {
    if snapshot.meta() != meta {
        return Err(SnapshotError::OtherMeta);
    }
    let mut batch = Batch::default();
    while let Some((application_key, value)) = snapshot.next_pair()? {
        batch.put(key::of_application(&application_key), value.into());
        if batch.bytes() >= BATCH_BYTES {
            engine.write(std::mem::take(&mut batch), Durability::Ordered)?;
        }
    }
    // The position comes last: a database that has it is complete.
    let position =
        Position::<C> { applied: meta.last_log_id.clone(), membership: meta.last_membership.clone() };
    position.put_all(&mut batch).map_err(|_| SnapshotError::OtherMeta)?;
    engine.write(batch, Durability::Synced)?;
    Ok(())
}
