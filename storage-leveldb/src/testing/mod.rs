//! For tests of this crate and of applications: a disk that loses power, and fails on demand.

mod sim_disk;

pub use sim_disk::{Failure, SimDisk};

use std::sync::Arc;

use crate::disk::GuardedDisk;
use crate::engine::{LevelDb, LevelDbOptions};
use crate::observer::NoObserver;

/// LevelDB on a simulated disk, without a storage around it.
#[must_use]
pub fn leveldb_on(disk: &SimDisk, options: LevelDbOptions) -> LevelDb {
    LevelDb::new(GuardedDisk::new(Arc::new(disk.clone()), Arc::new(NoObserver), Arc::new(())), options)
}
