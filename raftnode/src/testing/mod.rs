//! Crash, fault and determinism tests for an author's application: ten lines each.
//!
//! They run the application as a node does, in batches, under request ids and on its own storage,
//! over simulated disks that lose power, fail, and fill up.

mod machine;

use std::sync::Arc;

use bytes::Bytes;
pub use machine::{Applied, Machine};
use storage_leveldb::testing as storage;
pub use storage_leveldb::testing::Random;
pub use storage_leveldb::testing::crash::{CrashReport, CrashTestError};
pub use storage_leveldb::testing::determinism::{DeterminismError, Digest};
pub use storage_leveldb::testing::faults::{FaultReport, FaultTestError};

use crate::application::{Application, Batch, ClusterTime, Command, Hosted, RequestId, Stamp, Typed};
use crate::raft::TypeConfig;

/// Does the same log have the same effects and answers on every member? See
/// [`Subject::determinism_test`].
pub struct DeterminismTest(storage::DeterminismTest<TypeConfig, Hosted>);

/// Does every promise hold after a power failure, at every point of a run? See
/// [`Subject::crash_test`].
pub struct CrashTest(storage::CrashTest<TypeConfig, Hosted>);

/// Is what is wrong with a file or a disk noticed, whatever it is? See [`Subject::fault_test`].
pub struct FaultTest(storage::FaultTest<TypeConfig, Hosted>);

impl DeterminismTest {
    /// Applies a log of this many entries.
    #[must_use]
    pub fn entries(self, entries: u64) -> Self {
        Self(self.0.entries(entries))
    }

    /// Chooses another log.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self(self.0.seed(seed))
    }

    /// Applies the log in all ways: in memory and on LevelDB, one by one and in batches, with a
    /// restart half way, and with a snapshot half way that another storage goes on from.
    ///
    /// # Errors
    /// Where two runs part first.
    pub fn run(&self) -> Result<Digest, DeterminismError> {
        self.0.run()
    }
}

impl CrashTest {
    /// Crashes at this many points at least.
    #[must_use]
    pub fn points(self, points: u64) -> Self {
        Self(self.0.points(points))
    }

    /// Steps of a run.
    #[must_use]
    pub fn steps(self, steps: usize) -> Self {
        Self(self.0.steps(steps))
    }

    /// Chooses other runs.
    #[must_use]
    pub fn first_seed(self, seed: u64) -> Self {
        Self(self.0.first_seed(seed))
    }

    /// Crashes at every point, starts again, and looks whether every promise was kept.
    ///
    /// # Errors
    /// The first broken promise, and the seed and point that repeat it.
    pub fn run(self) -> Result<CrashReport, CrashTestError> {
        self.0.run()
    }
}

impl FaultTest {
    /// Chooses another run.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self(self.0.seed(seed))
    }

    /// Lets each operation on the disk fail.
    ///
    /// # Errors
    /// The first failure that was not noticed.
    pub fn failed_operations(&self) -> Result<FaultReport, FaultTestError> {
        self.0.failed_operations()
    }

    /// Lets the disk become full at each operation.
    ///
    /// # Errors
    /// The first that was not noticed.
    pub fn full_disks(&self) -> Result<FaultReport, FaultTestError> {
        self.0.full_disks()
    }

    /// Flips bits of every file.
    ///
    /// # Errors
    /// The first that changed an answer.
    pub fn flipped_bits(&self) -> Result<FaultReport, FaultTestError> {
        self.0.flipped_bits()
    }

    /// Removes each file.
    ///
    /// # Errors
    /// The first that changed an answer.
    pub fn missing_files(&self) -> Result<FaultReport, FaultTestError> {
        self.0.missing_files()
    }

    /// Shortens each file.
    ///
    /// # Errors
    /// The first that changed an answer.
    pub fn truncated_files(&self) -> Result<FaultReport, FaultTestError> {
        self.0.truncated_files()
    }
}

/// Commands in one entry, at most.
const MAX_COMMANDS: usize = 4;
/// Few clients, so that writes are repeated and come too late.
const CLIENTS: u64 = 2;
/// Sequences of theirs.
const SEQUENCES: u64 = 1000;
/// How far apart two entries are, at most.
const MAX_STEP_MILLIS: u64 = 10_000;

/// Makes a random command.
type MakeCommand<A> = Arc<dyn Fn(&mut Random) -> <A as Application>::Command + Send + Sync>;

/// An application under test: how it is made, and how a random command of it is.
pub struct Subject<A: Application> {
    application: Arc<dyn Fn() -> A + Send + Sync>,
    command: MakeCommand<A>,
}

impl<A: Application> Subject<A> {
    /// `application` makes the application, `command` a random command.
    pub fn new(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random) -> A::Command + Send + Sync + 'static,
    ) -> Self {
        Self { application: Arc::new(application), command: Arc::new(command) }
    }

    /// Does the same log have the same effects and answers on every member?
    #[must_use]
    pub fn determinism_test(&self) -> DeterminismTest {
        DeterminismTest(storage::DeterminismTest::new(self.host(), self.batch()))
    }

    /// Does every promise hold after a power failure?
    #[must_use]
    pub fn crash_test(&self) -> CrashTest {
        CrashTest(storage::CrashTest::new(self.host(), self.batch()))
    }

    /// Is what is wrong with a file or a disk noticed?
    #[must_use]
    pub fn fault_test(&self) -> FaultTest {
        FaultTest(storage::FaultTest::new(self.host(), self.batch()))
    }

    fn host(&self) -> impl Fn() -> Hosted + Send + Sync + 'static {
        let application = Arc::clone(&self.application);
        move || Hosted::new(Arc::new(Typed(Arc::new(application()))))
    }

    /// Several commands, some of them under a name, at some time.
    fn batch(&self) -> impl Fn(&mut Random) -> Batch + Send + Sync + 'static {
        let command = Arc::clone(&self.command);
        move |random| {
            let commands: Vec<_> = (0..=random.position(MAX_COMMANDS))
                .map(|_| Command {
                    request_id: request_id(random),
                    since: A::SCHEMA,
                    bytes: encoded(&command(random)),
                })
                .collect();
            // Not in order: a leader may have been elected whose clock was behind.
            let time = ClusterTime::from_millis(random.below(MAX_STEP_MILLIS));
            Batch::new(Stamp { schema: A::SCHEMA, time }, &commands)
        }
    }
}

fn request_id(random: &mut Random) -> Option<RequestId> {
    let client_id = [u8::try_from(random.below(CLIENTS)).unwrap_or_default(); 16];
    random.one_in(2).then(|| RequestId { client_id, sequence: 1 + random.below(SEQUENCES) })
}

#[allow(clippy::expect_used, reason = "a test ends here, and says why")]
fn encoded(command: &impl serde::Serialize) -> Bytes {
    codec::encode(command).expect("a command that can be encoded").into()
}
