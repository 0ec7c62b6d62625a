//! A storage to be harmed: worked on without a fault, and closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::strike::{begin, random};
use crate::state::Application;
use crate::testing::broken::Broken;
use crate::testing::model::{Model, SharedModel};
use crate::testing::sim_disk::{SimDisk, Survival};
use crate::testing::subject::{Subject, TestTypes};
use crate::testing::workload::Workload;

/// A storage that has been worked on and closed.
pub(super) struct Filled<C: openraft::RaftTypeConfig> {
    pub(super) disk: SimDisk,
    pub(super) model: Model<C>,
    /// Copies of the disk from before.
    pub(super) older: Vec<SimDisk>,
    pub(super) operations: u64,
    pub(super) reads: u64,
    /// Most bytes that were ever in use.
    pub(super) most_bytes: u64,
    /// The disk before the storage was closed, and what was promised then.
    running: (SimDisk, Model<C>),
}

/// What opening a storage after a crash takes.
pub(super) struct Opening {
    pub(super) operations: u64,
    pub(super) bytes_before: u64,
    pub(super) most_bytes: u64,
}

impl<C: TestTypes> Filled<C> {
    /// What is left if the power fails before the storage is closed, and what was promised.
    pub(super) fn crashed(&self, crash: u64) -> (SimDisk, Arc<SharedModel<C>>) {
        (self.running.0.reboot(Survival::Random(crash)), SharedModel::new(self.running.1.clone()))
    }

    /// Opens it after a crash, without a fault.
    pub(super) async fn opening<A: Application<C>>(
        &self,
        subject: &Subject<C, A>,
        seed: u64,
        crash: u64,
    ) -> Result<Opening, Broken> {
        let (disk, model) = self.crashed(crash);
        let (bytes_before, peak) = (used_bytes(&disk), watch_bytes(&disk));
        drop(Workload::resume(subject, &disk, model, random(seed)).await?);
        let most_bytes = peak.load(Ordering::Relaxed).max(bytes_before);
        Ok(Opening { operations: disk.operations(), bytes_before, most_bytes })
    }
}

/// Works `pieces` times `steps` steps without a fault, and copies the disk in between.
pub(super) async fn fill<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    pieces: usize,
    steps: usize,
) -> Result<Filled<C>, Broken> {
    let disk = SimDisk::default();
    let peak = watch_bytes(&disk);
    let (model, workload) = begin(subject, seed, &disk).await?;
    let mut workload = workload?;
    let mut older = Vec::new();
    for _ in 0..pieces {
        workload.run(steps).await?;
        older.push(disk.copy());
    }
    workload.inspect().await?;
    let running = (disk.copy(), model.copy());
    drop(workload);
    let (operations, reads) = (disk.operations(), disk.reads());
    let (model, most_bytes) = (model.copy().settled(), peak.load(Ordering::Relaxed));
    Ok(Filled { disk: disk.copy(), model, older, operations, reads, most_bytes, running })
}

fn used_bytes(disk: &SimDisk) -> u64 {
    disk.files().iter().map(|(_, len)| *len as u64).sum()
}

/// The most bytes in use in the middle of any operation from now on.
fn watch_bytes(disk: &SimDisk) -> Arc<AtomicU64> {
    let peak = Arc::new(AtomicU64::new(0));
    let seen = peak.clone();
    disk.watch(move |moment| {
        seen.fetch_max(used_bytes(&moment.copy()), Ordering::Relaxed);
    });
    peak
}
