//! The tests of `storage_leveldb::testing`, for an application of this crate.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use storage_leveldb::testing as storage;
use storage_leveldb::testing::crash::{CrashReport, CrashTestError};
use storage_leveldb::testing::determinism::{DeterminismError, Digest};
use storage_leveldb::testing::faults::{FaultReport, FaultTestError};

use super::exercised::{Exercised, Failed, Report};
use crate::application::{Application, Hosted};
use crate::raft::TypeConfig;

/// What a run exercises while it runs. Clones share it.
#[derive(Clone)]
pub(super) struct Watch {
    seen: Arc<Mutex<Exercised>>,
    may_answer_alike: bool,
}

impl Watch {
    pub(super) fn new(may_answer_alike: bool) -> Self {
        Self { may_answer_alike, seen: Arc::default() }
    }

    /// To be told of each entry.
    pub(super) fn watcher<A: Application>(
        &self,
    ) -> impl Fn(&storage::Effect<'_, TypeConfig>) + Send + Sync + use<A> {
        let seen = Arc::clone(&self.seen);
        move |effect| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.add::<A>(effect.command, effect.answer, (effect.before, effect.after));
        }
    }

    /// A query was answered.
    pub(super) fn answered<A: Application>(&self, encoded: &[u8]) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).add_answer::<A>(encoded);
    }

    /// What the run found, if it could find anything.
    fn judge<T, E: Error>(&self, found: Result<T, E>) -> Result<Report<T>, Failed<E>> {
        let found = found?;
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(reason) = seen.unreadable {
            return Err(Failed::Unreadable(reason));
        }
        let exercised = seen.judge(self.may_answer_alike).map_err(Failed::Vacuous)?;
        Ok(Report { found, exercised })
    }
}

/// Does the same log have the same effects and answers on every member? See
/// [`Subject::determinism_test`](super::Subject::determinism_test).
pub struct DeterminismTest {
    pub(super) test: storage::DeterminismTest<TypeConfig, Hosted>,
    pub(super) watch: Watch,
}

/// Does every promise hold after a power failure, at every point of a run? See
/// [`Subject::crash_test`](super::Subject::crash_test).
pub struct CrashTest {
    pub(super) test: storage::CrashTest<TypeConfig, Hosted>,
    pub(super) watch: Watch,
}

/// Is what is wrong with a file or a disk noticed, whatever it is? See
/// [`Subject::fault_test`](super::Subject::fault_test).
pub struct FaultTest {
    pub(super) test: storage::FaultTest<TypeConfig, Hosted>,
    pub(super) watch: Watch,
}

impl DeterminismTest {
    /// Applies a log of this many entries.
    #[must_use]
    pub fn entries(self, entries: u64) -> Self {
        Self { test: self.test.entries(entries), ..self }
    }

    /// Chooses another log.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { test: self.test.seed(seed), ..self }
    }

    /// Applies the log in all ways: in memory and on LevelDB, one by one and in batches, with a
    /// restart half way, and with a snapshot half way that another storage goes on from; the first
    /// in another second of the day than the others.
    ///
    /// # Errors
    /// Where two runs part first, or the run is vacuous.
    pub fn run(&self) -> Result<Report<Digest>, Failed<DeterminismError>> {
        self.watch.judge(self.test.run())
    }
}

impl CrashTest {
    /// Crashes at this many points at least.
    #[must_use]
    pub fn points(self, points: u64) -> Self {
        Self { test: self.test.points(points), ..self }
    }

    /// Steps of a run.
    #[must_use]
    pub fn steps(self, steps: usize) -> Self {
        Self { test: self.test.steps(steps), ..self }
    }

    /// Chooses other runs.
    #[must_use]
    pub fn first_seed(self, seed: u64) -> Self {
        Self { test: self.test.first_seed(seed), ..self }
    }

    /// Crashes at every point, starts again, and looks whether every promise was kept.
    ///
    /// # Errors
    /// The first broken promise, and the seed and point that repeat it; or the run is vacuous.
    pub fn run(self) -> Result<Report<CrashReport>, Failed<CrashTestError>> {
        self.watch.judge(self.test.run())
    }
}

type Faults = Result<Report<FaultReport>, Failed<FaultTestError>>;

impl FaultTest {
    /// Chooses another run.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { test: self.test.seed(seed), ..self }
    }

    /// Lets each operation on the disk fail.
    ///
    /// # Errors
    /// The first failure that was not noticed, or the run is vacuous.
    pub fn failed_operations(&self) -> Faults {
        self.watch.judge(self.test.failed_operations())
    }

    /// Lets the disk become full at each operation.
    ///
    /// # Errors
    /// The first that was not noticed, or the run is vacuous.
    pub fn full_disks(&self) -> Faults {
        self.watch.judge(self.test.full_disks())
    }

    /// Flips bits of every file.
    ///
    /// # Errors
    /// The first that changed an answer, or the run is vacuous.
    pub fn flipped_bits(&self) -> Faults {
        self.watch.judge(self.test.flipped_bits())
    }

    /// Removes each file.
    ///
    /// # Errors
    /// The first that changed an answer, or the run is vacuous.
    pub fn missing_files(&self) -> Faults {
        self.watch.judge(self.test.missing_files())
    }

    /// Shortens each file.
    ///
    /// # Errors
    /// The first that changed an answer, or the run is vacuous.
    pub fn truncated_files(&self) -> Faults {
        self.watch.judge(self.test.truncated_files())
    }
}
