//! Lets one fault happen, and sees what comes of it.

use std::path::Path;

use super::case::{Case, Damage};
use super::filled::{Filled, begin, random};
use crate::log::LOG_MANIFEST;
use crate::lsm::manifest::MANIFEST;
use crate::raft::Application;
use crate::testing::broken::{Broken, promise};
use crate::testing::found::Found;
use crate::testing::model::{Model, SharedModel};
use crate::testing::sim_disk::{ReadFailure, SimDisk, Survival};
use crate::testing::subject::{Subject, TestTypes};
use crate::testing::workload::Workload;

/// Steps with a storage that looks undamaged.
const STEPS_AFTER_DAMAGE: usize = 6;

/// What came of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It did not come to it.
    NotReached,
    Harmless,
    /// The storage said so, naming a file.
    Detected,
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
        Case::OperationAtOpen(crash, at, failure) => {
            go_on_after(subject, seed, filled, *crash, |disk| disk.fail_at(*at, *failure)).await
        }
        Case::CapacityAtOpen(crash, bytes) => {
            go_on_after(subject, seed, filled, *crash, |disk| disk.set_capacity(Some(*bytes))).await
        }
        Case::ReadAtOpen(at, failure) => read_at_open(subject, filled, *at, *failure).await,
        Case::Damage(path, damage) => damaged(subject, seed, filled, path, damage).await,
    }
}

async fn read_at_open<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    filled: &Filled<C>,
    at: u64,
    failure: ReadFailure,
) -> Result<End, Broken> {
    let disk = filled.disk.copy();
    disk.fail_read_at(at, failure);
    let end = look(subject, &disk, &filled.model).await?;
    // The disk reads well again, and nothing has been lost.
    let again = look(subject, &disk.copy(), &filled.model).await?;
    promise!(again == End::Harmless, "still refused after a failed read");
    Ok(if disk.has_failed() { end } else { End::NotReached })
}

async fn damaged<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    filled: &Filled<C>,
    path: &Path,
    damage: &Damage,
) -> Result<End, Broken> {
    let disk = filled.disk.copy();
    if !inflict(&disk, path, damage) {
        return Ok(End::NotReached);
    }
    let is_manifest = path.file_name().is_some_and(|name| name == LOG_MANIFEST || name == MANIFEST);
    let model = match damage {
        Damage::Older(_) if is_manifest => filled.model.with_an_older_state(),
        _ => filled.model.clone(),
    };
    match look(subject, &disk, &model).await? {
        // What opening and reading do not see may do harm later.
        End::Harmless => go_on(subject, seed, filled, model, &disk, path).await,
        end => {
            put_back(subject, filled, &disk, path, &filled.model).await?;
            Ok(end)
        }
    }
}

/// A storage that refuses destroys nothing: with the file as it was everything is there.
///
/// Found: with an older `state/ACTIVE` a start removed the database that counted, and then said
/// that another was missing; with an older `snapshot/ACTIVE` it removed the newest snapshot.
async fn put_back<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    filled: &Filled<C>,
    disk: &SimDisk,
    path: &Path,
    model: &Model<C>,
) -> Result<(), Broken> {
    promise!(disk.put_back(path, &filled.disk), "the directory of {} is gone", path.display());
    let found = async {
        let mut store = subject.open(disk).await?;
        model.check(&Found::in_store(&mut store).await?)
    };
    found.await.map_err(|reason| Broken::During {
        reason: Box::new(reason),
        trace: format!("{} had been found damaged, and was put back as it was", path.display()),
    })
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
    see(subject, seed, steps, (&disk, &model), begun).await
}

/// Opens a storage that was in use when the power failed, on a disk on which something fails, and
/// works on.
async fn go_on_after<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    filled: &Filled<C>,
    crash: u64,
    arm: impl FnOnce(&SimDisk),
) -> Result<End, Broken> {
    let (disk, model) = filled.crashed(crash);
    arm(&disk);
    let begun = Workload::resume(subject, &disk, model.clone(), random(seed)).await;
    see(subject, seed, STEPS_AFTER_DAMAGE, (&disk, &model), begun).await
}

/// Works on, and sees what comes of a disk on which something fails.
async fn see<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    steps: usize,
    (disk, model): (&SimDisk, &SharedModel<C>),
    begun: Result<Workload<C, A>, Broken>,
) -> Result<End, Broken> {
    let end = match begun {
        Ok(mut workload) => match run(&mut workload, steps).await {
            Ok(()) => untold(workload, disk)?,
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

/// No caller was told of a fault: it came with the last work, or in closing. It must be latched all
/// the same.
fn untold<C: TestTypes, A: Application<C>>(
    mut workload: Workload<C, A>,
    disk: &SimDisk,
) -> Result<End, Broken> {
    let fault = workload.close().and_then(|health| health.fault());
    promise!(fault.is_some() || !disk.has_failed(), "something failed, and no fault is latched");
    Ok(if fault.is_some() { End::Detected } else { End::Harmless })
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

/// Goes on working with what was found to be right, `path` being damaged.
async fn go_on<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    filled: &Filled<C>,
    model: Model<C>,
    disk: &SimDisk,
    path: &Path,
) -> Result<End, Broken> {
    let harmed = disk.read(path);
    let model = SharedModel::new(model);
    let mut workload = match Workload::resume(subject, disk, model.clone(), random(seed)).await {
        Ok(workload) => workload,
        Err(e) => return detected(e),
    };
    let end = match run(&mut workload, STEPS_AFTER_DAMAGE).await {
        Ok(()) => return Ok(End::Harmless),
        Err(e) => detected(e)?,
    };
    workload.check_latched().await?;
    // A file that has been replaced since is another one, which the old content would harm.
    if harmed.is_some() && disk.read(path) == harmed {
        put_back(subject, filled, disk, path, &model.copy()).await?;
    }
    Ok(end)
}
