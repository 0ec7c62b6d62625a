//! What a crash test did, and how it failed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use super::point::Trail;
use crate::testing::broken::Broken;
use crate::testing::sim_disk::OperationKind;
use crate::testing::workload::StepKind;

/// What was tried, all of it with success.
#[derive(Debug, Clone, Default)]
pub struct CrashReport {
    /// Crash points: each a different moment of a different run.
    pub points: u64,
    /// How many of them lie in the recovery after another crash, or in the work after that.
    pub points_after_a_crash: u64,
    /// Storages opened after a crash and compared with the model.
    pub checks: u64,
    /// Runs of a workload.
    pub lives: u64,
    /// First seed, and the one behind the last.
    pub seeds: (u64, u64),
    /// Crash points by the operation in which the power failed.
    pub by_kind: BTreeMap<OperationKind, u64>,
    /// What the workloads did, runs after a crash included. [`StepKind::ALL`] should be in it.
    pub steps: BTreeMap<StepKind, u64>,
    /// Tables that compactions have replaced.
    pub tables_deleted: u64,
    /// Wall-clock time.
    pub took: Duration,
}

impl CrashReport {
    pub(super) fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.points_after_a_crash += other.points_after_a_crash;
        self.checks += other.checks;
        self.lives += other.lives;
        for (kind, count) in &other.by_kind {
            *self.by_kind.entry(*kind).or_default() += count;
        }
        for (kind, count) in &other.steps {
            *self.steps.entry(*kind).or_default() += count;
        }
        self.tables_deleted += other.tables_deleted;
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} crash points ({} of them after another crash), {} checks, {} runs, seeds {}..{}, {:.1} s;",
            self.points,
            self.points_after_a_crash,
            self.checks,
            self.lives,
            self.seeds.0,
            self.seeds.1,
            self.took.as_secs_f64()
        )?;
        self.by_kind.iter().try_for_each(|(kind, count)| write!(f, " {count} × {kind},"))?;
        f.write_str(" done:")?;
        self.steps.iter().try_for_each(|(kind, count)| write!(f, " {count} × {kind},"))?;
        write!(f, " {} tables compacted away; all promises kept", self.tables_deleted)
    }
}

/// A promise was broken.
#[derive(Debug, thiserror::Error)]
#[error(
    "{reason}\nafter {operation}; on the disk: {files:?}\nagain: CRASH_SEED={seed} CRASH_POINT={trail} (all of this run: CRASH_SEED={seed})"
)]
#[non_exhaustive]
pub struct CrashFailure {
    /// The run's seed.
    pub seed: u64,
    /// Where the power failed.
    pub trail: Trail,
    /// In which operation it failed last.
    pub operation: String,
    /// The files that were left, with their lengths.
    pub files: Vec<(std::path::PathBuf, usize)>,
    /// What was not as promised.
    #[source]
    pub reason: Broken,
}

/// Why a crash test failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrashTestError {
    /// A promise was broken.
    #[error(transparent)]
    Failure(#[from] Box<CrashFailure>),
    /// The test could not run.
    #[error("cannot start: {0}")]
    Runtime(#[from] io::Error),
    /// An environment variable is not what it should be.
    #[error("{name}={value:?} is not understood")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
    },
}
