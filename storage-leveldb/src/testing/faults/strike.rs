//! Lets one fault happen, and sees what comes of it.

use std::path::Path;

use super::case::{Case, Damage};
use crate::state::Application;
use crate::testing::broken::{Broken, promise};
use crate::testing::found::Found;
use crate::testing::model::{Model, SharedModel};
use crate::testing::random::Random;
use crate::testing::reference::Reference;
use crate::testing::sim_disk::{SimDisk, Survival};
use crate::testing::subject::{Subject, TestTypes};
use crate::testing::workload::Workload;

/// What came of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It did not come to it.
    NotReached,
    Harmless,
    /// The storage said so, naming a file.
    Detected,
}

/// A storage that has been worked on and closed.
pub(super) struct Filled<C: TestTypes> {
    pub(super) disk: SimDisk,
    pub(super) model: Model<C>,
    /// Copies of the disk from before.
    pub(super) older: Vec<SimDisk>,
    pub(super) operations: u64,
    pub(super) reads: u64,
    /// Most bytes that were ever in use.
    pub(super) most_bytes: u64,
}

fn random(seed: u64) -> Random {
    Random::of(&[seed, 7])
}

async fn begin<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    disk: &SimDisk,
) -> Result<(std::sync::Arc<SharedModel<C>>, Result<Workload<C, A>, Broken>), Broken> {
    let empty = Reference::open(subject).await?.expected().await?;
    let model = SharedModel::new(Model::new(empty));
    let workload = Workload::begin(subject, disk, model.clone(), random(seed)).await;
    Ok((model, workload))
}

fn used_bytes(disk: &SimDisk) -> u64 {
    disk.files().iter().map(|(_, len)| *len as u64).sum()
}

/// Works `pieces` times `steps` steps without a fault, and copies the disk in between.
pub(super) async fn fill<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    pieces: usize,
    steps: usize,
) -> Result<Filled<C>, Broken> {
    let disk = SimDisk::default();
    let (model, workload) = begin(subject, seed, &disk).await?;
    let mut workload = workload?;
    let (mut older, mut most_bytes) = (Vec::new(), 0);
    for _ in 0..pieces {
        workload.run(steps).await?;
        older.push(disk.copy());
        most_bytes = most_bytes.max(used_bytes(&disk));
    }
    workload.inspect().await?;
    drop(workload);
    let (operations, reads) = (disk.operations(), disk.reads());
    Ok(Filled { disk: disk.copy(), model: model.copy().settled(), older, operations, reads, most_bytes })
}

/// Lets `case` happen.
pub(super) async fn strike<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    steps: usize,
    filled: &Filled<C>,
    case: &Case,
) -> Result<End, Broken> {
    match case {
        Case::Operation(at, failure) => work(subject, seed, steps, |disk| disk.fail_at(*at, *failure)).await,
        Case::Read(at, failure) => work(subject, seed, steps, |disk| disk.fail_read_at(*at, *failure)).await,
        Case::Capacity(bytes) => work(subject, seed, steps, |disk| disk.set_capacity(Some(*bytes))).await,
        Case::ReadAtOpen(at, failure) => {
            let disk = filled.disk.copy();
            disk.fail_read_at(*at, *failure);
            let end = look(subject, &disk, &filled.model).await?;
            // The disk reads well again, and nothing has been lost.
            let again = look(subject, &disk.copy(), &filled.model).await?;
            promise!(again == End::Harmless, "still refused after a failed read");
            Ok(if disk.has_failed() { end } else { End::NotReached })
        }
        Case::Damage(path, damage) => {
            let disk = filled.disk.copy();
            if !inflict(&disk, path, damage) {
                return Ok(End::NotReached);
            }
            match look(subject, &disk, &filled.model).await? {
                // What opening and reading do not see may do harm later.
                End::Harmless => go_on(subject, seed, &disk, &filled.model).await,
                end => Ok(end),
            }
        }
    }
}

fn inflict(disk: &SimDisk, path: &Path, damage: &Damage) -> bool {
    match damage {
        Damage::Flip(at) => disk.flip_bit(path, *at, (*at % 8) as u8),
        Damage::Truncate(len) => disk.truncate(path, *len),
        Damage::Remove => disk.remove(path),
        Damage::Older(older) => disk.replace(path, older),
    }
}

/// An error is a detection only if the storage names a file.
fn detected(error: Broken) -> Result<End, Broken> {
    match error.named_fault() {
        Some(_) => Ok(End::Detected),
        None => Err(error),
    }
}

/// Works on a disk on which something fails.
async fn work<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    steps: usize,
    arm: impl FnOnce(&SimDisk),
) -> Result<End, Broken> {
    let disk = SimDisk::default();
    arm(&disk);
    let (model, begun) = begin(subject, seed, &disk).await?;
    let end = match begun {
        Ok(mut workload) => match run(&mut workload, steps).await {
            Ok(()) => End::Harmless,
            Err(e) => {
                let end = detected(e)?;
                workload.check_latched().await?;
                end
            }
        },
        Err(e) => detected(e)?,
    };
    // Whether the process starts again or the machine does: what was promised is there.
    for survival in [Survival::Everything, Survival::Nothing, Survival::Random(seed)] {
        let left = disk.reboot(survival);
        left.set_capacity(None);
        let mut store = subject.open(&left).await?;
        model.copy().check(&Found::in_store(&mut store).await?)?;
    }
    Ok(if disk.has_failed() { end } else { End::NotReached })
}

async fn run<C: TestTypes, A: Application<C>>(
    workload: &mut Workload<C, A>,
    steps: usize,
) -> Result<(), Broken> {
    workload.run(steps).await?;
    workload.inspect().await
}

/// Opens and reads everything.
async fn look<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    disk: &SimDisk,
    model: &Model<C>,
) -> Result<End, Broken> {
    let mut store = match subject.open(disk).await {
        Ok(store) => store,
        Err(e) => return detected(e.into()),
    };
    match Found::in_store(&mut store).await {
        Ok(found) => model.check(&found).map(|()| End::Harmless),
        Err(e) => {
            promise!(store.health.fault().is_some(), "an error was answered, but no fault is latched: {e}");
            detected(e)
        }
    }
}

/// Goes on working with what was found to be right.
async fn go_on<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    disk: &SimDisk,
    model: &Model<C>,
) -> Result<End, Broken> {
    let model = SharedModel::new(model.clone());
    let mut workload = match Workload::resume(subject, disk, model, random(seed)).await {
        Ok(workload) => workload,
        Err(e) => return detected(e),
    };
    match run(&mut workload, super::STEPS_AFTER_DAMAGE).await {
        Ok(()) => Ok(End::Harmless),
        Err(e) => {
            let end = detected(e)?;
            workload.check_latched().await?;
            Ok(end)
        }
    }
}
