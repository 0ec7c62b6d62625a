//! One life of a storage: from an empty disk, or from what a crash has left, through a piece of
//! workload. It runs once, and hands out a crash point from the middle of every operation.

use std::sync::{Arc, Mutex, PoisonError};

use super::point::{Point, Trail};
use crate::raft::Application;
use crate::testing::broken::Broken;
use crate::testing::found::Found;
use crate::testing::model::{Model, SharedModel};
use crate::testing::reference::Reference;
use crate::testing::sim_disk::SimDisk;
use crate::testing::subject::{Subject, TestTypes};
use crate::testing::workload::{Steps, Workload};

/// Where a life begins.
pub(super) enum Start<C: openraft::RaftTypeConfig> {
    Empty,
    /// What was left after a crash, and what had been promised before it.
    Crashed(SimDisk, Model<C>),
}

/// A life's crash points, as far as it came, and how it ended: with what has been done, if well.
pub(super) struct Life<C: openraft::RaftTypeConfig> {
    pub(super) points: Vec<Point<C>>,
    pub(super) end: Result<Steps, Broken>,
}

type Points<C> = Arc<Mutex<Vec<Point<C>>>>;

/// Lives one life. `trail` leads to its start.
pub(super) async fn live<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    trail: &Trail,
    start: Start<C>,
    steps: usize,
) -> Life<C> {
    let points = Points::default();
    let end = work(subject, seed, trail, start, steps, &points).await;
    let points = std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner));
    Life { points, end }
}

async fn work<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    seed: u64,
    trail: &Trail,
    start: Start<C>,
    steps: usize,
    points: &Points<C>,
) -> Result<Steps, Broken> {
    let random = trail.random(seed, 0);
    let mut workload = match start {
        Start::Empty => {
            let empty = Reference::open(subject).await?.expected().await?;
            let (disk, model) = (SimDisk::default(), SharedModel::new(Model::new(empty)));
            collect(&disk, &model, points);
            Workload::begin(subject, &disk, model, random).await?
        }
        Start::Crashed(disk, model) => {
            let model = SharedModel::new(model);
            collect(&disk, &model, points);
            Workload::resume(subject, &disk, model, random).await?
        }
    };
    workload.run(steps).await?;
    workload.inspect().await?;
    Ok(workload.steps())
}

/// Makes every operation on `disk` a crash point.
fn collect<C: TestTypes>(disk: &SimDisk, model: &Arc<SharedModel<C>>, points: &Points<C>) {
    let (model, points) = (model.clone(), points.clone());
    disk.watch(move |moment| {
        let point = Point {
            number: moment.number,
            kind: moment.kind,
            path: moment.path.display().to_string(),
            disk: moment.copy(),
            model: model.copy(),
        };
        points.lock().unwrap_or_else(PoisonError::into_inner).push(point);
    });
}

/// Opens what a crash has left, and checks it.
pub(super) async fn check<C: TestTypes, A: Application<C>>(
    subject: &Subject<C, A>,
    disk: &SimDisk,
    model: &Model<C>,
) -> Result<(), Broken> {
    let mut store = subject.open(disk).await?;
    let found = Found::in_store(&mut store).await?;
    model.check(&found)
}
