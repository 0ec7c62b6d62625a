//! Crash, fault and determinism tests for an author's application: ten lines each.
//!
//! They run the application as a node does, in batches, under request ids and on its own storage,
//! over simulated disks that lose power, fail, and fill up. Each run says what it has exercised,
//! and fails if that is nothing.

mod cluster;
mod exercised;
mod kind;
mod machine;
mod storage_tests;
mod subject;

pub use cluster::{
    Cluster, ClusterError, ClusterFailure, ClusterReport, ClusterTest, Messages, Network, WriteName,
};
pub use exercised::{Exercised, Failed, Kinds, Report, Vacuous};
pub use machine::{Applied, Machine};
pub use storage_leveldb::testing::crash::{CrashReport, CrashTestError};
pub use storage_leveldb::testing::determinism::{DeterminismError, Digest};
pub use storage_leveldb::testing::faults::{FaultReport, FaultTestError};
pub use storage_leveldb::testing::{Random, Survival};
pub use storage_tests::{CrashTest, DeterminismTest, FaultTest};
pub use subject::Subject;
