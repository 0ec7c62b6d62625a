//! Power loss at every operation of a workload, and what is left of it.
//!
//! A workload runs on a [`SimDisk`](super::SimDisk): append (several at once), vote, truncate,
//! commit, apply, snapshot, purge, install, restart ([`StepKind`]), with LevelDB buffers so small
//! that it compacts all the time. From the middle of every operation that changes or syncs anything
//! it hands out a copy of the disk together with a copy of a model of what was asked and promised:
//! a *crash point*. Each point is opened again several times, each time with another part of what
//! was not synced, and compared with the model. Some go on from there: every operation of the
//! recovery, and of more work after it, is a crash point too.
//!
//! What is checked: no acknowledged entry is missing or changed, no truncated one is back, the log
//! has no hole; the vote is the last one saved; the state is that of a prefix of the log, with its
//! exact log id and membership, and never older than a snapshot that was reported; the snapshot is
//! the old one or the new one, with exactly its pairs; the purged and the committed id were asked
//! for and never go back behind a later sync; state and snapshot reach as far as the log is purged;
//! openraft can start. After a crash all of it must survive the next crash as well. The expected
//! states come from the same application on a `MemoryEngine`.
//!
//! What it must catch, each by breaking the code that way:
//! - an append, vote or truncation acknowledged before its sync, or without one, or only with a
//!   later one;
//! - a vote or entries in a file whose name was never synced; CURRENT or a marker replaced without
//!   the sync of the new file, or without that of the directory; a table named by MANIFEST before
//!   it is durable;
//! - a log rotated away, or deleted, before what is in it is durable elsewhere;
//! - a batch torn into two: the applied log id without its effects, half of an append, a truncation
//!   with a hole;
//! - a purge without its mark, before the snapshot is durable, or of entries that state and
//!   snapshot lack;
//! - a snapshot that is reported before it, its name, or the state it was made from is durable;
//! - an install that switches to a database that is not complete, or deletes the one that counts;
//! - a recovery that appends behind a torn tail, or that a second crash turns into a loss.
//!
//! # Testing your own application
//!
//! ```
//! use storage_leveldb::testing::CrashTest;
//! # use storage_leveldb::{Application, StorageError, Transaction, View};
//! # openraft::declare_raft_types!(Types: D = Add, R = u64, NodeId = u64, Node = openraft::BasicNode);
//! # #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
//! # struct Add(u64);
//! # impl std::fmt::Display for Add {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "+{}", self.0) }
//! # }
//! # struct Sum;
//! # impl Application<Types> for Sum {
//! #     type Query = ();
//! #     type Answer = u64;
//! #     fn apply(&self, txn: &mut Transaction<'_>, _: u64, add: &Add) -> Result<u64, StorageError> {
//! #         let before = txn.get(b"sum")?.and_then(|v| Some(u64::from_le_bytes(v[..].try_into().ok()?)));
//! #         let sum = before.unwrap_or(0).wrapping_add(add.0);
//! #         txn.put(b"sum", &sum.to_le_bytes());
//! #         Ok(sum)
//! #     }
//! #     fn query(&self, _: &mut View<'_>, (): ()) -> Result<u64, StorageError> { Ok(0) }
//! # }
//! // `Sum` is an `Application<Types>` whose command is `Add`.
//! let test = CrashTest::<Types, Sum>::new(|| Sum, |random| Add(random.below(100)));
//! match test.points(500).steps(20).run() {
//!     Ok(report) => println!("{report}"),
//!     Err(e) => panic!("{e}"),
//! }
//! ```
//!
//! [`CrashTest::from_env`] reads `CRASH_POINTS`, `CRASH_FIRST_SEED`, `CRASH_SEED` and
//! `CRASH_POINT`, so that long runs and replays need no other code. A failure tells the last two. A
//! run is a function of its seed but for one thing: purged entries are removed in the background,
//! so that operations of the log and of the state may come in another order, and a point may have
//! another number in the next run. Then run all of the seed.

mod explorer;
mod life;
mod point;
mod report;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

pub use self::point::{ParseTrailError, Trail};
pub use self::report::{CrashFailure, CrashReport, CrashTestError};
pub use super::workload::StepKind;

use self::explorer::Explorer;
use super::author::Effect;
use super::random::Random;
use super::subject::{Subject, TestTypes};
use crate::lsm::View;
use crate::options::Options;
use crate::raft::Application;

/// A long run says where it is about this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_POINTS: u64 = 2000;
const DEFAULT_STEPS: usize = 60;

/// A test of power failures for one application. See the [module](self).
pub struct CrashTest<C: openraft::RaftTypeConfig, A> {
    subject: Subject<C, A>,
    points: u64,
    steps: usize,
    first_seed: u64,
    only_seed: Option<u64>,
    only_point: Option<Trail>,
    threads: usize,
}

impl<C: TestTypes, A: Application<C>> CrashTest<C, A> {
    /// `application` makes the application, `command` a random command.
    pub fn new(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random) -> C::D + Send + Sync + 'static,
    ) -> Self {
        Self::of(Subject::new(application, command))
    }

    /// The same with commands for the state that they will meet: `command` sees it as it is behind
    /// the entries made before.
    pub fn seeing(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random, &mut View<'_>) -> C::D + Send + Sync + 'static,
    ) -> Self {
        Self::of(Subject::seeing(application, command))
    }

    fn of(subject: Subject<C, A>) -> Self {
        Self {
            subject,
            points: DEFAULT_POINTS,
            steps: DEFAULT_STEPS,
            first_seed: 0,
            only_seed: None,
            only_point: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Tells `watcher` what each entry did, on every run of a workload.
    #[must_use]
    pub fn watched(self, watcher: impl Fn(&Effect<'_, C>) + Send + Sync + 'static) -> Self {
        Self { subject: self.subject.watched(watcher), ..self }
    }

    /// Runs seed after seed until there have been at least this many crash points.
    #[must_use]
    pub fn points(self, points: u64) -> Self {
        Self { points, ..self }
    }

    /// Runs workloads of this many steps on an empty disk; the default, 60, makes some 2000 crash
    /// points of one seed.
    #[must_use]
    pub fn steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// Starts with this seed; the default is 0.
    #[must_use]
    pub fn first_seed(self, first_seed: u64) -> Self {
        Self { first_seed, ..self }
    }

    /// Runs one seed only, and of that one point only, if one is given.
    #[must_use]
    pub fn only(self, seed: u64, point: Option<Trail>) -> Self {
        Self { only_seed: Some(seed), only_point: point, ..self }
    }

    /// Opens storages with these options, but for the disk. The default has very small buffers.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.subject.options = options;
        self
    }

    /// Takes what is set from the environment: `CRASH_POINTS`, `CRASH_FIRST_SEED`, `CRASH_SEED`,
    /// `CRASH_POINT`.
    ///
    /// # Errors
    /// A variable that is not understood.
    pub fn from_env(mut self) -> Result<Self, CrashTestError> {
        self.points = setting("CRASH_POINTS")?.unwrap_or(self.points);
        self.first_seed = setting("CRASH_FIRST_SEED")?.unwrap_or(self.first_seed);
        self.only_seed = setting("CRASH_SEED")?.or(self.only_seed);
        self.only_point = setting("CRASH_POINT")?.or(self.only_point);
        Ok(self)
    }

    /// Whether this is a replay of one seed, which has fewer points than were asked for.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.only_seed.is_some()
    }

    /// Runs it on all cores. Prints where it is once a minute.
    ///
    /// # Errors
    /// The first failure, with what it takes to see it again.
    pub fn run(self) -> Result<CrashReport, CrashTestError> {
        let first = self.only_seed.unwrap_or(self.first_seed);
        let run = Run {
            test: &self,
            started: Instant::now(),
            next_seed: AtomicU64::new(first),
            stop: AtomicBool::new(false),
            done: Mutex::new(Done { report: CrashReport::default(), error: None, told: Instant::now() }),
        };
        std::thread::scope(|scope| {
            for _ in 0..if self.is_replay() { 1 } else { self.threads } {
                scope.spawn(|| run.work());
            }
        });
        let end = run.next_seed.load(Ordering::Relaxed);
        let took = run.started.elapsed();
        let done = run.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        match done.error {
            Some(error) => Err(error),
            None => Ok(CrashReport { seeds: (first, end), took, ..done.report }),
        }
    }
}

fn setting<T: std::str::FromStr>(name: &'static str) -> Result<Option<T>, CrashTestError> {
    let Ok(value) = std::env::var(name) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(CrashTestError::Setting { name, value }),
    }
}

struct Done {
    report: CrashReport,
    error: Option<CrashTestError>,
    told: Instant,
}

/// What the threads of one test share.
struct Run<'a, C: openraft::RaftTypeConfig, A> {
    test: &'a CrashTest<C, A>,
    started: Instant,
    next_seed: AtomicU64,
    stop: AtomicBool,
    done: Mutex<Done>,
}

impl<C: TestTypes, A: Application<C>> Run<'_, C, A> {
    fn work(&self) {
        if let Err(error) = self.try_work() {
            self.stop.store(true, Ordering::Relaxed);
            self.done.lock().unwrap_or_else(PoisonError::into_inner).error.get_or_insert(error);
        }
    }

    /// Runs seed after seed.
    fn try_work(&self) -> Result<(), CrashTestError> {
        // One runtime for all: making one per point would cost more than a check.
        let runtime: Runtime = Builder::new_current_thread().build()?;
        while !self.stop.load(Ordering::Relaxed) {
            let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
            let target = self.test.only_point.as_ref();
            let report =
                Explorer::new(&self.test.subject, &runtime, seed, target).explore(self.test.steps)?;
            self.add(&report, seed);
        }
        Ok(())
    }

    fn add(&self, report: &CrashReport, seed: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.report.add(report);
        let points = done.report.points;
        if points >= self.test.points || self.test.is_replay() {
            self.stop.store(true, Ordering::Relaxed);
        } else if done.told.elapsed() >= PROGRESS_INTERVAL {
            done.told = Instant::now();
            let elapsed = self.started.elapsed().as_secs();
            eprintln!("{points} crash points, {} checks, seed {seed}, {elapsed} s", done.report.checks);
        }
    }
}
