//! A storage to be harmed: worked on without a fault, and closed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, GuardedDisk};
use crate::error::StorageError;
use crate::log::LogManifest;
use crate::lsm::manifest::Manifest;
use crate::lsm::table::table_dir;
use crate::observer::Silent;
use crate::raft::Application;
use crate::testing::broken::Broken;
use crate::testing::model::{Model, SharedModel};
use crate::testing::random::Random;
use crate::testing::reference::Reference;
use crate::testing::sim_disk::{SimDisk, Survival};
use crate::testing::subject::{DIR, Subject, TestTypes};
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
    /// Directories that no root names: a table that was being written, or one that was compacted
    /// away, as the storage was closed. The next start removes them.
    pub(super) left_over: BTreeSet<PathBuf>,
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
    begin_a_table(&disk)?;
    let disk = disk.copy();
    let left_over = left_over(&disk)?;
    Ok(Filled { disk, model, older, operations, reads, most_bytes, left_over, running })
}

pub(super) fn random(seed: u64) -> Random {
    Random::of(&[seed, 7])
}

/// Opens an empty storage.
pub(super) async fn begin<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    disk: &SimDisk,
) -> Result<(Arc<SharedModel<C>>, Result<Workload<C, A>, Broken>), Broken> {
    let empty = Reference::open(subject).await?.expected().await?;
    let model = SharedModel::new(Model::new(empty));
    let workload = Workload::begin(subject, disk, model.clone(), random(seed)).await;
    Ok((model, workload))
}

/// What a storage leaves that is closed while it writes a table; chance alone does so now and then.
fn begin_a_table(disk: &SimDisk) -> io::Result<()> {
    let table = Path::new(DIR).join("state").join(table_dir(u64::from(u32::MAX)));
    disk.create_dir(&table)?;
    disk.create(&table.join("000003.ldb"))?.write_all(b"a table that is not complete")
}

fn left_over(disk: &SimDisk) -> Result<BTreeSet<PathBuf>, Broken> {
    let guarded = GuardedDisk::new(Arc::new(disk.clone()), Arc::new(Silent), Arc::new(()));
    let (log, state) = (Path::new(DIR).join("log"), Path::new(DIR).join("state"));
    let segments = LogManifest::read(&guarded, &log)
        .map_err(StorageError::from)?
        .map(|manifest| manifest.segments)
        .unwrap_or_default();
    let tables = Manifest::read(&guarded, &state)
        .map_err(StorageError::from)?
        .map(|manifest| manifest.tables)
        .unwrap_or_default();
    let segments = segments.into_iter().map(|segment| log.join(segment.name()));
    let named: BTreeSet<_> =
        segments.chain(tables.into_iter().map(|table| state.join(table_dir(table.number)))).collect();
    let dirs = disk.files().into_iter().filter_map(|(path, _)| path.parent().map(Path::to_owned));
    let is_of_a_part = |dir: &PathBuf| dir.parent().is_some_and(|part| part == log || part == state);
    Ok(dirs.filter(|dir| is_of_a_part(dir) && !named.contains(dir)).collect())
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
