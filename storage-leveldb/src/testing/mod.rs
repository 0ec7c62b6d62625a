//! For tests of this crate and of applications: a disk that loses power, fails and rots on demand,
//! and what tries to break a storage with it. All of it is behind the feature `testing`, which
//! tests switch on:
//!
//! ```toml
//! [dependencies]
//! storage-leveldb = "0.1"
//!
//! [dev-dependencies]
//! storage-leveldb = { version = "0.1", features = ["testing"] }
//! ```
//!
//! - [`SimDisk`]: the fault environment. It is a [`Disk`](disk::Disk) for
//!   [`Options::with_disk`](crate::Options::with_disk).
//! - [`crash`]: power loss at every operation of a workload, for any application.
//! - [`faults`]: failing operations, full disks, damaged files, the same way.
//! - [`determinism`]: does the same log have the same effects, whatever it is applied with?
//! - [`engine_conformance`]: what every [`Engine`](engine::Engine) must do.

mod author;
mod broken;
mod check;
pub mod crash;
pub mod determinism;
pub mod engine_conformance;
pub mod faults;
mod forecast;
#[doc(hidden)]
pub mod formats;
mod found;
mod ids;
mod inspected;
mod model;
mod random;
mod recorded;
mod reference;
mod sim_disk;
mod subject;
mod workload;

pub use author::Effect;
pub use broken::Broken;
pub use crash::CrashTest;
pub use determinism::DeterminismTest;
pub use faults::FaultTest;
pub use random::Random;
pub use sim_disk::{Failure, Moment, OperationKind, ReadFailure, SimDisk, Survival};
pub use subject::TestTypes;

/// The disk below a storage; another takes the place of the operating system's files.
pub mod disk {
    pub use crate::disk::{Disk, ReadFile, RealDisk, WriteFile};
}

/// The engine below log and state; another takes the place of LevelDB.
pub mod engine {
    pub use crate::engine::{
        Batch, Durability, Engine, EngineFactory, LevelDb, LevelDbOptions, MemoryEngine, Op, Table,
        TableWriter,
    };
}

use std::sync::Arc;

use crate::disk::GuardedDisk;
use crate::engine::{LevelDb, LevelDbOptions};
use crate::observer::Silent;

/// LevelDB on a simulated disk, without a storage around it.
#[must_use]
pub fn leveldb_on(disk: &SimDisk, options: LevelDbOptions) -> LevelDb {
    LevelDb::new(GuardedDisk::new(Arc::new(disk.clone()), Arc::new(Silent), Arc::new(())), options)
}
