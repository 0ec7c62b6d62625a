//! What becomes of an engine's error.

use std::path::Path;

use crate::disk::GuardedDisk;
use crate::error::StorageError;
use crate::health::{Fault, FaultKind};

/// An error of an engine is a fault of the storage, also if the engine knows of no latch, or has
/// ended with a panic: those who wait for what it should have done learn of it by the latch only.
pub(crate) fn latched<T>(
    disk: &GuardedDisk,
    dir: &Path,
    result: Result<T, StorageError>,
) -> Result<T, StorageError> {
    result.map_err(|e| match e {
        StorageError::Fault(fault) => disk.latch(fault).into(),
        other => disk.latch(Fault::new(FaultKind::Io, dir, format!("the engine: {other}"))).into(),
    })
}
