//! Goes through the crash points of one seed.

use tokio::runtime::Runtime;

use super::life::{Life, Start, check, live};
use super::point::{Point, Trail};
use super::report::{CrashFailure, CrashReport};
use crate::raft::Application;
use crate::testing::broken::Broken;
use crate::testing::sim_disk::SimDisk;
use crate::testing::subject::{Subject, TestTypes};

/// Ways in which the disk survives each crash: with nothing that was not synced, with everything,
/// and some at random.
pub(super) const SURVIVALS_PER_POINT: u64 = 4;
/// After one check in this many the storage goes on: every operation of its recovery, and of the
/// work after it, is a crash point as well.
const GO_ON_ONE_IN: u64 = 2500;
/// With so many points of a seed none of its storages goes on any more, unless it is replayed: how
/// many points come of those that go on is left to chance, and now and then it was ten times as
/// many.
const ENOUGH_POINTS: u64 = 5000;
/// Steps after a crash.
const LATER_STEPS: usize = 12;
/// A storage crashes at most this often.
const MAX_CRASHES: usize = 4;

type Failure = Box<CrashFailure>;

/// Runs one seed. One per thread.
pub(super) struct Explorer<'a, C: openraft::RaftTypeConfig, A> {
    subject: &'a Subject<C, A>,
    runtime: &'a Runtime,
    seed: u64,
    /// Only this point, if any.
    target: Option<&'a Trail>,
    report: CrashReport,
}

impl<'a, C: TestTypes, A: Application<C>> Explorer<'a, C, A> {
    pub(super) fn new(
        subject: &'a Subject<C, A>,
        runtime: &'a Runtime,
        seed: u64,
        target: Option<&'a Trail>,
    ) -> Self {
        Self { subject, runtime, seed, target, report: CrashReport::default() }
    }

    /// Begins with an empty disk and works so many steps.
    pub(super) fn explore(mut self, steps: usize) -> Result<CrashReport, Failure> {
        self.live(&Trail::default(), Start::Empty, steps)?;
        Ok(self.report)
    }

    /// Lives one life, then goes through its crash points.
    fn live(&mut self, trail: &Trail, start: Start<C>, steps: usize) -> Result<(), Failure> {
        let left = match &start {
            Start::Empty => SimDisk::default(),
            Start::Crashed(disk, _) => disk.copy(),
        };
        let Life { points, end } = self.runtime.block_on(live(self.subject, self.seed, trail, start, steps));
        self.report.lives += 1;
        let done = end.map_err(|reason| {
            let last = points.last().map(describe).unwrap_or_default();
            self.failure(trail, format!("running on; the last operation was {last}"), &left, reason)
        })?;
        done.add_to(&mut self.report.steps);
        self.report.tables_deleted += points.iter().filter(|point| point.deletes_a_table()).count() as u64;
        points.into_iter().try_for_each(|point| self.point(trail, &point))
    }

    fn point(&mut self, trail: &Trail, point: &Point<C>) -> Result<(), Failure> {
        let depth = trail.crashes.len();
        let wanted = self.target.and_then(|target| target.crashes.get(depth));
        if self.target.is_some() && wanted.is_none_or(|crash| crash.operation != point.number) {
            return Ok(());
        }
        self.report.points += 1;
        self.report.points_after_a_crash += u64::from(depth > 0);
        *self.report.by_kind.entry(point.kind).or_default() += 1;
        for survival in 0..SURVIVALS_PER_POINT {
            if wanted.is_none_or(|crash| crash.survival == survival) {
                self.survival(&trail.then(point.number, survival), point)?;
            }
        }
        Ok(())
    }

    /// Lets the power fail at `point`; `trail` ends there.
    fn survival(&mut self, trail: &Trail, point: &Point<C>) -> Result<(), Failure> {
        let disk = point.disk.reboot(trail.survival(self.seed));
        self.report.checks += 1;
        let depth = trail.crashes.len();
        // A replay goes on whenever it may: the failure may lie in the recovery.
        let may_go_on = self.report.points < ENOUGH_POINTS && trail.random(self.seed, 2).one_in(GO_ON_ONE_IN);
        let goes_on = self.target.is_some() || may_go_on;
        if goes_on && depth < MAX_CRASHES {
            return self.live(trail, Start::Crashed(disk, point.model.clone()), LATER_STEPS);
        }
        let left = disk.copy();
        let checked = self.runtime.block_on(check(self.subject, &disk, &point.model));
        checked.map_err(|reason| self.failure(trail, describe(point), &left, reason))
    }

    fn failure(&self, trail: &Trail, operation: String, left: &SimDisk, reason: Broken) -> Failure {
        let (seed, trail, files) = (self.seed, trail.clone(), left.files());
        Box::new(CrashFailure { seed, trail, operation, files, reason })
    }
}

fn describe<C: TestTypes>(point: &Point<C>) -> String {
    let Point { number, kind, path, model, .. } = point;
    let after: String = model.in_flight.iter().map(|next| format!("; or {}", next.summary())).collect();
    format!("operation {number}, {kind} {path}; promised {}{after}", model.summary())
}
