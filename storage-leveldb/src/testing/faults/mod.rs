//! Faults other than crashes: every one is detected or harmless, and none changes an answer.
//!
//! The same workload as in [`crash`](super::crash), on a [`SimDisk`](super::SimDisk) where
//! - the n-th operation that changes or syncs something fails, for every n: with an error, as a
//!   short write, as a sync that loses what it should have made durable, as a full disk;
//! - the n-th read, open, or look at a length or directory fails, for every n, or a read answers
//!   too little;
//! - there is room for so many bytes only, for many numbers;
//!
//! the same when a storage is opened that was in use when the power failed; and a storage that was
//! closed and then damaged: a flipped bit in every part of every file, each file missing, cut off
//! at many lengths (frame and page boundaries included), or replaced by an older version of itself.
//!
//! *Detected*: the storage answers an error that names a file, has latched it, and from then on
//! refuses everything with that error and changes nothing on the disk; a damaged file is then put
//! back, and with it everything is as it was. *Harmless*: every answer is the model's, then and
//! after some more work. In either case whatever was acknowledged is there when the disk works
//! again, after a restart of the process and after a power failure. Anything else fails the test.
//!
//! ```
//! use storage_leveldb::testing::FaultTest;
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
//! let test = FaultTest::<Types, Sum>::new(|| Sum, |random| Add(random.below(100)));
//! match test.missing_files() {
//!     Ok(report) => println!("{report}"),
//!     Err(e) => panic!("{e}"),
//! }
//! ```

mod case;
mod filled;
mod regions;
mod report;
mod strike;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

pub use self::report::{Ends, FaultFailure, FaultReport, FaultTestError};

use self::case::{Case, Damage};
use self::filled::{Filled, Opening, fill};
use self::strike::{End, strike};
use super::author::Effect;
use super::random::Random;
use super::sim_disk::{Failure, ReadFailure};
use super::subject::{Subject, TestTypes};
use crate::lsm::View;
use crate::raft::Application;

/// Steps of a workload in which something fails.
const STEPS: usize = 30;
/// A storage to be damaged has done this many pieces of work, of so many steps; there is an older
/// version of it from behind each.
const PIECES: usize = 72;
const STEPS_PER_PIECE: usize = 1;
/// Disks that run full, of as many sizes.
const CAPACITIES: u64 = 400;
/// Crashes after which a storage is opened while something fails, or on disks of so many sizes.
const CRASHES: u64 = 3;
const CAPACITIES_AT_OPEN: u64 = 40;
/// First and last bytes of a file, frame or page in which every bit is as likely to matter.
const EDGE_BYTES: usize = 24;
/// Bytes in between are tried one in so many.
const FLIP_STRIDE_BYTES: usize = 61;

/// A test of faults for one application. See the [module](self).
pub struct FaultTest<C: openraft::RaftTypeConfig, A> {
    subject: Subject<C, A>,
    seed: u64,
}

impl<C: TestTypes, A: Application<C>> FaultTest<C, A> {
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
        Self { subject, seed: 0 }
    }

    /// Tells `watcher` what each entry did, on every run of a workload.
    #[must_use]
    pub fn watched(self, watcher: impl Fn(&Effect<'_, C>) + Send + Sync + 'static) -> Self {
        Self { subject: self.subject.watched(watcher), ..self }
    }

    /// Chooses another workload.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Every operation that changes or syncs something fails once, in several ways, in a workload
    /// and when a storage is opened after a crash.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn failed_operations(&self) -> Result<FaultReport, FaultTestError> {
        let failures = [
            Failure::Error(ErrorKind::Other),
            Failure::Error(ErrorKind::StorageFull),
            Failure::ShortWrite(ErrorKind::Other),
            Failure::LostSync(ErrorKind::Other),
        ];
        self.try_all(PIECES_OF_WORK, |filled, openings| {
            let mut cases = Vec::new();
            for failure in failures {
                cases.extend((1..=filled.operations).map(|at| Case::Operation(at, failure)));
                for (crash, opening) in (0..).zip(openings) {
                    let case = |at| Case::OperationAtOpen(crash, at, failure);
                    cases.extend((1..=opening.operations).map(case));
                }
            }
            cases
        })
    }

    /// Every read fails once, or answers too little, in a workload and when a storage is opened.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn failed_reads(&self) -> Result<FaultReport, FaultTestError> {
        let failures = [ReadFailure::Error(ErrorKind::Other), ReadFailure::Short];
        self.try_all(PIECES_OF_WORK, |filled, _| {
            let case = |failure| {
                let work = (1..=filled.reads).map(move |at| Case::Read(at, failure));
                work.chain((1..=filled.reads).map(move |at| Case::ReadAtOpen(at, failure)))
            };
            failures.into_iter().flat_map(case).collect()
        })
    }

    /// The disk is full at many sizes, in a workload and when a storage is opened after a crash.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn full_disks(&self) -> Result<FaultReport, FaultTestError> {
        self.try_all(PIECES_OF_WORK, |filled, openings| {
            let mut random = Random::of(&[self.seed, 8]);
            let mut cases: Vec<_> =
                (0..CAPACITIES).map(|_| Case::Capacity(random.below(filled.most_bytes))).collect();
            for (crash, opening) in (0..).zip(openings) {
                let more = opening.most_bytes.saturating_sub(opening.bytes_before);
                let size = |_| opening.bytes_before.saturating_add(random.below(more));
                let sizes: Vec<u64> = (0..CAPACITIES_AT_OPEN).map(size).collect();
                cases.extend(sizes.into_iter().map(|bytes| Case::CapacityAtOpen(crash, bytes)));
            }
            cases
        })
    }

    /// A bit is flipped in every part of every file.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn flipped_bits(&self) -> Result<FaultReport, FaultTestError> {
        self.damage(|path, content, _| flips(path, content).into_iter().map(Damage::Flip).collect())
    }

    /// Each file is missing.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn missing_files(&self) -> Result<FaultReport, FaultTestError> {
        self.damage(|_, _, _| vec![Damage::Remove])
    }

    /// Each file is cut off, at many lengths.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn truncated_files(&self) -> Result<FaultReport, FaultTestError> {
        self.damage(|path, content, _| cuts(path, content).into_iter().map(Damage::Truncate).collect())
    }

    /// Each file is replaced by every older version of itself.
    ///
    /// # Errors
    /// The first fault that did harm.
    pub fn older_files(&self) -> Result<FaultReport, FaultTestError> {
        self.damage(|path, content, filled| {
            let mut seen = BTreeSet::from([content.to_vec()]);
            let is_new = |older: &&super::SimDisk| older.read(path).is_some_and(|old| seen.insert(old));
            filled.older.iter().filter(is_new).map(|older| Damage::Older(Arc::new(older.clone()))).collect()
        })
    }

    fn damage(
        &self,
        of_file: impl Fn(&Path, &[u8], &Filled<C>) -> Vec<Damage>,
    ) -> Result<FaultReport, FaultTestError> {
        self.try_all((PIECES, STEPS_PER_PIECE), |filled, _| {
            let mut cases = Vec::new();
            for (path, _) in filled.disk.files() {
                let content = filled.disk.read(&path).unwrap_or_default();
                let damages = of_file(&path, &content, filled);
                cases.extend(damages.into_iter().map(|damage| Case::Damage(path.clone(), damage)));
            }
            cases
        })
    }

    /// Fills a disk and lets all these faults happen, on all cores.
    fn try_all(
        &self,
        (pieces, steps): (usize, usize),
        cases: impl FnOnce(&Filled<C>, &[Opening]) -> Vec<Case>,
    ) -> Result<FaultReport, FaultTestError> {
        let started = Instant::now();
        let runtime: Runtime = Builder::new_current_thread().build()?;
        let filled = runtime.block_on(fill(&self.subject, self.seed, pieces, steps))?;
        let opening = |crash| runtime.block_on(filled.opening(&self.subject, self.seed, crash));
        let openings = (0..CRASHES).map(opening).collect::<Result<Vec<_>, _>>()?;
        let cases = cases(&filled, &openings);
        let sweep = Sweep {
            test: self,
            filled,
            cases,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            done: Mutex::default(),
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| sweep.work());
            }
        });
        let (report, error) = sweep.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => Err(error),
            None => Ok(FaultReport { took: started.elapsed(), ..report }),
        }
    }
}

/// The workload of which every operation fails once.
const PIECES_OF_WORK: (usize, usize) = (1, STEPS);

/// Offsets of the bits to flip: every byte near the ends of frames and pages, some in between.
fn flips(path: &Path, content: &[u8]) -> BTreeSet<usize> {
    let near = |at: usize| at.saturating_sub(EDGE_BYTES)..at.saturating_add(EDGE_BYTES);
    // Of many frames the first, the last and some in between.
    let boundaries = regions::boundaries(path, content);
    let some = boundaries.len().div_ceil(8).max(1);
    let chosen = boundaries.iter().step_by(some).chain(boundaries.last()).copied();
    let edges = chosen.chain([0, content.len()]).flat_map(near);
    edges.chain((0..content.len()).step_by(FLIP_STRIDE_BYTES)).filter(|at| *at < content.len()).collect()
}

/// Lengths to cut a file off at.
fn cuts(path: &Path, content: &[u8]) -> BTreeSet<usize> {
    let len = content.len();
    let around = |at: usize| [at.saturating_sub(1), at, at.saturating_add(1)];
    let boundaries = regions::boundaries(path, content).into_iter().flat_map(around);
    let between = (0..len).step_by((len / 16).max(1));
    boundaries.chain(between).chain([0, 1, len.saturating_sub(1)]).filter(|at| *at < len).collect()
}

/// What the threads of one test share.
struct Sweep<'a, C: openraft::RaftTypeConfig, A> {
    test: &'a FaultTest<C, A>,
    filled: Filled<C>,
    cases: Vec<Case>,
    next: AtomicUsize,
    stop: AtomicBool,
    done: Mutex<(FaultReport, Option<FaultTestError>)>,
}

impl<C: TestTypes, A: Application<C>> Sweep<'_, C, A> {
    fn work(&self) {
        if let Err(error) = self.try_work() {
            self.stop.store(true, Ordering::Relaxed);
            self.done.lock().unwrap_or_else(PoisonError::into_inner).1.get_or_insert(error);
        }
    }

    fn try_work(&self) -> Result<(), FaultTestError> {
        let runtime: Runtime = Builder::new_current_thread().build()?;
        let FaultTest { subject, seed } = self.test;
        while let Some(case) = self.cases.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let end = runtime.block_on(strike(subject, *seed, STEPS, &self.filled, case));
            let end = end
                .map_err(|reason| Box::new(FaultFailure { seed: *seed, fault: case.to_string(), reason }))?;
            if end != End::NotReached {
                let kind = case.kind(&self.filled.disk, &self.filled.left_over);
                let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                done.0.add(kind, end == End::Detected);
            }
        }
        Ok(())
    }
}
