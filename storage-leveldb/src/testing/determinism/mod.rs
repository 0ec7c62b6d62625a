//! Is an application deterministic? The same log must have the same effects and answers on every member, whatever
//! engine it stores in, however the entries come in batches, after a restart, and behind a snapshot.
//!
//! The test applies one log of random commands several times: in memory and on LevelDB, one by one and in
//! batches, with a restart half way, and with a snapshot half way that another storage, on the other engine, goes on
//! from; and with what is merged ([`Transaction::merge`](crate::Transaction::merge)) merged at once, or when it is read. It compares the answer to every entry, and all pairs behind every batch.
//!
//! What it finds: clocks, random numbers, the order of a `HashMap`, counters and caches in the application itself,
//! anything that a snapshot does not carry, a merge that is not associative, and engines that do not answer alike.
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
mod recorded;
mod run;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use tokio::runtime::Builder;

pub use self::error::{DeterminismError, Difference};

use self::run::{EngineKind, Outcome, Plan, run};
use super::broken::Broken;
use super::ids::{log_id, logged, membership};
use super::inspected::Pairs;
use super::model::Logged;
use super::random::Random;
use super::subject::{MakeCommand, TestTypes};
use crate::state::Application;

const DEFAULT_ENTRIES: u64 = 1000;

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
    application: Box<dyn Fn() -> A + Send + Sync>,
    command: Box<MakeCommand<C>>,
    entries: u64,
    seed: u64,
}

impl<C: TestTypes, A: Application<C>> DeterminismTest<C, A> {
    /// `application` makes the application, `command` a random command.
    pub fn new(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random) -> C::D + Send + Sync + 'static,
    ) -> Self {
        let command: Box<MakeCommand<C>> = Box::new(command);
        Self { application: Box::new(application), command, entries: DEFAULT_ENTRIES, seed: 0 }
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

    /// Applies the log in all ways.
    ///
    /// # Errors
    /// Where two runs part first.
    pub fn run(&self) -> Result<Digest, DeterminismError> {
        let runtime = Builder::new_current_thread().build()?;
        let log =
            self.log().map_err(|reason| DeterminismError::Storage { run: FIRST.to_string(), reason })?;
        let outcome = |plan: Plan| {
            let ran = runtime.block_on(run(&*self.application, &log, plan, Random::new(self.seed)));
            ran.map_err(|reason| DeterminismError::Storage { run: plan.to_string(), reason })
        };
        let first = outcome(FIRST)?;
        for plan in OTHERS {
            compare(plan, &first, &outcome(plan)?)?;
        }
        Ok(digest(self.entries, &first))
    }

    fn log(&self) -> Result<Vec<Arc<Logged<C>>>, Broken> {
        let mut random = Random::of(&[self.seed, 9]);
        let mut entry = |index| {
            // openraft begins every log with a membership.
            let payload = match index {
                0 => EntryPayload::Membership(membership::<C>()),
                _ => EntryPayload::Normal((self.command)(&mut random)),
            };
            logged::<C>(log_id::<C>(C::Term::default(), index), payload)
        };
        (0..self.entries).map(&mut entry).collect()
    }
}

fn digest(entries: u64, outcome: &Outcome) -> Digest {
    let pairs = outcome.states.values().next_back().into_iter().flatten();
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
        let nothing = Pairs::new();
        let expected = first.states.get(index).unwrap_or(&nothing);
        if let Some(difference) = first_difference(expected, found) {
            return Err(DeterminismError::State {
                run: run(),
                index: *index,
                difference: Box::new(difference),
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
