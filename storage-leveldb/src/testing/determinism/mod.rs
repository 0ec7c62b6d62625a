//! Is an application deterministic? The same log must have the same effects and answers on every
//! member, whatever engine it stores in, however the entries come in batches, after a restart, and
//! behind a snapshot.
//!
//! The test applies one log of random commands several times: in memory and on LevelDB, one by one
//! and in batches, with a restart half way, and with a snapshot half way that another storage, on
//! the other engine, goes on from; and with what is merged
//! ([`Transaction::merge`](crate::Transaction::merge)) merged at once, or when it is read. It
//! compares the answer to every entry, and all pairs behind every batch.
//!
//! What it finds: clocks that tell seconds or less, random numbers, the order of a `HashMap`,
//! counters and caches in the application itself, anything that a snapshot does not carry, a merge
//! that is not associative, and engines that do not answer alike.
//!
//! ```
//! use storage_leveldb::testing::DeterminismTest;
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
//! let test = DeterminismTest::<Types, Sum>::new(|| Sum, |random| Add(random.below(100)));
//! match test.run() {
//!     Ok(digest) => println!("{digest}"),
//!     Err(e) => panic!("{e}"),
//! }
//! ```

mod error;
mod probed;
mod run;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openraft::EntryPayload;
use tokio::runtime::Builder;

pub use self::error::{DeterminismError, Difference};

use self::probed::Seen;
use self::run::{EngineKind, Outcome, Plan, run};
use super::author::Effect;
use super::broken::Broken;
use super::forecast::Forecast;
use super::ids::{log_id, logged, membership};
use super::inspected::Pairs;
use super::model::Logged;
use super::random::Random;
use super::subject::{Subject, TestTypes};
use crate::lsm::View;
use crate::raft::Application;

const DEFAULT_ENTRIES: u64 = 1000;
/// A clock that stands still for longer than this is not waited for.
const LONGEST_SECOND: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The first run, which the others are compared with.
const FIRST: Plan = Plan {
    engine: EngineKind::Memory,
    one_by_one: true,
    merges_at_once: true,
    reopen: false,
    hand_over: false,
};
/// The same, but for what is merged: when it is read.
const LAZY: Plan = Plan { merges_at_once: false, ..FIRST };

const OTHERS: [Plan; 7] = [
    LAZY,
    Plan { one_by_one: false, ..LAZY },
    Plan { engine: EngineKind::LevelDb, ..LAZY },
    Plan { engine: EngineKind::LevelDb, one_by_one: false, reopen: true, ..LAZY },
    Plan { one_by_one: false, reopen: true, ..LAZY },
    Plan { engine: EngineKind::LevelDb, one_by_one: false, hand_over: true, ..LAZY },
    Plan { one_by_one: false, hand_over: true, ..LAZY },
];

/// What all runs agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Entries applied.
    pub entries: u64,
    /// CRC-32C of all pairs in the end.
    pub state: u32,
    /// CRC-32C of all answers.
    pub answers: u32,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries, state {:08x}, answers {:08x}", self.entries, self.state, self.answers)
    }
}

/// A test of determinism for one application. See the [module](self).
pub struct DeterminismTest<C: openraft::RaftTypeConfig, A> {
    subject: Subject<C, A>,
    entries: u64,
    seed: u64,
}

impl<C: TestTypes, A: Application<C>> DeterminismTest<C, A> {
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
        Self { subject, entries: DEFAULT_ENTRIES, seed: 0 }
    }

    /// Tells `watcher` what each entry did in the first run.
    #[must_use]
    pub fn watched(self, watcher: impl Fn(&Effect<'_, C>) + Send + Sync + 'static) -> Self {
        Self { subject: self.subject.watched(watcher), ..self }
    }

    /// Applies a log of this many entries.
    #[must_use]
    pub fn entries(self, entries: u64) -> Self {
        Self { entries, ..self }
    }

    /// Chooses another log.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Compares what `probe` makes of the application and its state behind every batch, too: what
    /// it answers to queries. `probe` is told behind which entry it is.
    #[must_use]
    pub fn probed(self, probe: impl Fn(&A, &mut View<'_>, u64) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { subject: self.subject.probed(probe), ..self }
    }

    /// Applies the log in all ways. Between the first and the others the time of day passes the
    /// end of a second, so that what an application reads from a clock in seconds differs, too.
    ///
    /// # Errors
    /// Where two runs part first.
    pub fn run(&self) -> Result<Digest, DeterminismError> {
        let runtime = Builder::new_current_thread().build()?;
        let log = runtime.block_on(self.log());
        let log = log.map_err(|reason| DeterminismError::Storage { run: FIRST.to_string(), reason })?;
        let outcome = |plan: Plan| {
            let ran = runtime.block_on(run(&self.subject, &log, plan, Random::new(self.seed)));
            ran.map_err(|reason| DeterminismError::Storage { run: plan.to_string(), reason })
        };
        let first = outcome(FIRST)?;
        self.tell(&log, &first)
            .map_err(|reason| DeterminismError::Storage { run: FIRST.to_string(), reason })?;
        pass_the_second();
        for plan in OTHERS {
            compare(plan, &first, &outcome(plan)?)?;
        }
        Ok(digest(self.entries, &first))
    }

    async fn log(&self) -> Result<Vec<Arc<Logged<C>>>, Broken> {
        let mut random = Random::of(&[self.seed, 9]);
        let mut forecast = Forecast::behind(&self.subject, []);
        let mut log = Vec::new();
        for index in 0..self.entries {
            // openraft begins every log with a membership.
            let payload = match index {
                0 => EntryPayload::Membership(membership::<C>()),
                _ => EntryPayload::Normal(forecast.command(&mut random).await?),
            };
            let entry = logged::<C>(log_id::<C>(C::Term::default(), index), payload)?;
            forecast.push(Arc::clone(&entry));
            log.push(entry);
        }
        Ok(log)
    }

    /// Tells the watcher what each entry did.
    fn tell(&self, log: &[Arc<Logged<C>>], outcome: &Outcome) -> Result<(), Broken> {
        let Some(watcher) = self.subject.watcher() else { return Ok(()) };
        let mut before: &[(Bytes, Bytes)] = &[];
        for logged in log {
            let index = logged.log_id.index;
            let after = outcome.states.get(&index).map_or(before, |seen| &seen.pairs);
            let entry = logged.entry()?;
            if let (EntryPayload::Normal(command), Some(answer)) =
                (&entry.payload, outcome.answers.get(&index))
            {
                watcher(&Effect { command, answer, before, after });
            }
            before = after;
        }
        Ok(())
    }
}

/// Waits until the time of day is in another second.
fn pass_the_second() {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = second();
    let begun = Instant::now();
    while second() == now && begun.elapsed() < LONGEST_SECOND {
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn digest(entries: u64, outcome: &Outcome) -> Digest {
    let pairs = outcome.states.values().next_back().into_iter().flat_map(|seen| &seen.pairs);
    let with = |crc, bytes: &[u8]| {
        let crc = crc32c::crc32c_append(crc, &(bytes.len() as u64).to_le_bytes());
        crc32c::crc32c_append(crc, bytes)
    };
    let state = pairs.fold(0, |crc, (key, value)| with(with(crc, key), value));
    let answers = outcome.answers.values().fold(0, |crc, answer| with(crc, answer));
    Digest { entries, state, answers }
}

fn compare(plan: Plan, first: &Outcome, other: &Outcome) -> Result<(), DeterminismError> {
    let run = || plan.to_string();
    for (index, expected) in &first.answers {
        let found = other.answers.get(index).cloned().unwrap_or_default();
        if found != *expected {
            return Err(DeterminismError::Answer {
                run: run(),
                index: *index,
                expected: expected.clone(),
                found,
            });
        }
    }
    for (index, found) in &other.states {
        let nothing = Seen::default();
        let expected = first.states.get(index).unwrap_or(&nothing);
        if let Some(difference) = first_difference(&expected.pairs, &found.pairs) {
            return Err(DeterminismError::State {
                run: run(),
                index: *index,
                difference: Box::new(difference),
            });
        }
        if expected.probed != found.probed {
            return Err(DeterminismError::Probe {
                run: run(),
                index: *index,
                expected: expected.probed.clone(),
                found: found.probed.clone(),
            });
        }
    }
    Ok(())
}

/// The least key with different values.
fn first_difference(expected: &Pairs, found: &Pairs) -> Option<Difference> {
    if expected == found {
        return None;
    }
    let value = |pairs: &Pairs, wanted: &Bytes| {
        pairs.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.clone())
    };
    let all = expected.iter().chain(found).map(|(key, _)| key);
    let key = all.filter(|key| value(expected, key) != value(found, key)).min()?;
    Some(Difference { key: key.clone(), expected: value(expected, key), found: value(found, key) })
}
