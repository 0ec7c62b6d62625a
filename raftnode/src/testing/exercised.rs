//! What a run has exercised, and whether that is anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::kind::{kind_of, kinds_of};
use crate::application::{Application, Batch, Outcome, Outcomes, Place};

/// Responses or answers of one kind say nothing as long as there are fewer commands than this.
const MIN_JUDGED: u64 = 30;
/// As many different values are told apart.
const MAX_DIFFERENT: usize = 100;

/// What the commands of a run did, on a run of the same log where nothing fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exercised {
    /// Entries with commands that were applied.
    pub entries: u64,
    /// How many of them changed a pair of the application.
    pub changed: u64,
    /// The commands.
    pub commands: Kinds,
    /// What they were answered; those that were repeated, as they were before.
    pub responses: Kinds,
    /// What queries were answered, in all ways in which a log was applied; none if no queries were
    /// asked.
    pub answers: Kinds,
    /// Commands that came too late: a later one of their client had been applied.
    pub late: u64,
    /// What cannot be read back from its encoding.
    pub(super) unreadable: Option<String>,
}

/// How many values there were of each kind: of each variant of an `enum` (or a `bool`, `Option` or
/// `Result`). Values of a type without variants are told apart by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kinds {
    /// All variants.
    possible: &'static [&'static str],
    by_variant: BTreeMap<&'static str, u64>,
    count: u64,
    /// Encoded; at most [`MAX_DIFFERENT`], and none of a type with variants.
    different: BTreeSet<Vec<u8>>,
}

impl Kinds {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many there were of this variant.
    #[must_use]
    pub fn of(&self, variant: &str) -> u64 {
        self.by_variant.get(variant).copied().unwrap_or_default()
    }

    /// Variants that there are none of.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.possible.iter().copied().filter(|variant| self.of(variant) == 0).collect()
    }

    /// Whether all values are alike although they could differ.
    fn are_alike(&self) -> bool {
        match self.possible {
            [] => self.different.len() == 1,
            [_] => false,
            _ => self.by_variant.len() == 1,
        }
    }

    fn add<T: Serialize + DeserializeOwned>(&mut self, value: &T, encoded: &[u8]) {
        self.possible = kinds_of::<T>();
        self.count += 1;
        match kind_of(value) {
            Some(variant) => *self.by_variant.entry(variant).or_default() += 1,
            None if self.different.len() < MAX_DIFFERENT => drop(self.different.insert(encoded.to_vec())),
            None => {}
        }
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.count)?;
        let mut separator = ": ";
        for (variant, count) in &self.by_variant {
            write!(f, "{separator}{count} × {variant}")?;
            separator = ", ";
        }
        let more = if self.different.len() < MAX_DIFFERENT { "" } else { " or more" };
        if !self.different.is_empty() {
            write!(f, "{separator}{}{more} different ones", self.different.len())?;
            separator = ", ";
        }
        match self.missing().as_slice() {
            [] => Ok(()),
            missing => write!(f, "{separator}no {}", missing.join(", no ")),
        }
    }
}

/// All pairs, in key order.
type Pairs = [(Bytes, Bytes)];

impl Exercised {
    /// Adds an entry of an application `A`.
    pub(super) fn add<A: Application>(
        &mut self,
        batch: &Batch,
        outcomes: &[u8],
        (before, after): (&Pairs, &Pairs),
    ) {
        self.entries += 1;
        self.changed += u64::from(!own(before).eq(own(after)));
        for command in batch.open().into_iter().flat_map(|(_, commands)| commands).flatten() {
            self.add_command::<A>(&command.bytes);
        }
        let outcomes: Outcomes = codec::decode(outcomes).unwrap_or_default();
        for outcome in outcomes.0 {
            match outcome {
                Outcome::SequenceTooLow { .. } => self.late += 1,
                Outcome::Applied(bytes) => self.add_response::<A>(&bytes),
            }
        }
    }

    /// Adds an entry with one command.
    pub(super) fn add_one<A: Application>(&mut self, command: &Bytes, response: &Bytes, changed: bool) {
        self.entries += 1;
        self.changed += u64::from(changed);
        self.add_command::<A>(command);
        self.add_response::<A>(response);
    }

    fn add_command<A: Application>(&mut self, encoded: &Bytes) {
        if let Ok(command) = codec::decode::<A::Command>(encoded) {
            self.commands.add(&command, encoded);
        }
    }

    fn add_response<A: Application>(&mut self, encoded: &Bytes) {
        match codec::decode::<A::Response>(encoded) {
            Ok(response) => self.responses.add(&response, encoded),
            Err(e) => self.unreadable = Some(unreadable("a response", &e)),
        }
    }

    /// Adds the answer to a query.
    pub(super) fn add_answer<A: Application>(&mut self, encoded: &[u8]) {
        match codec::decode::<A::Answer>(encoded) {
            Ok(answer) => self.answers.add(&answer, encoded),
            Err(e) => self.unreadable = Some(unreadable("an answer", &e)),
        }
    }

    /// Whether it is enough to tell anything.
    pub(super) fn judge(self, may_answer_alike: bool) -> Result<Self, Vacuous> {
        if self.changed == 0 {
            return Err(Vacuous::NothingChanged(Box::new(self)));
        }
        let are_alike = |kinds: &Kinds| kinds.count() >= MIN_JUDGED && kinds.are_alike();
        if are_alike(&self.responses) && !may_answer_alike {
            return Err(Vacuous::AnsweredAlike(Box::new(self)));
        }
        if are_alike(&self.answers) && !may_answer_alike {
            return Err(Vacuous::QueriesAnsweredAlike(Box::new(self)));
        }
        Ok(self)
    }
}

/// What to do about `what`, which cannot be read back.
pub(super) fn unreadable(what: &str, e: &impl fmt::Display) -> String {
    format!(
        "{what} cannot be read back from its encoding, which has no names of fields: {e}; its type must \
         not use serde's `tag`, `untagged`, `flatten` or `skip_serializing_if`"
    )
}

/// The application's own pairs.
fn own(pairs: &[(Bytes, Bytes)]) -> impl Iterator<Item = &(Bytes, Bytes)> {
    pairs.iter().filter(|(key, _)| matches!(Place::of(key), Some(Place::Application(_))))
}

impl fmt::Display for Exercised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, changed, commands, responses, answers, late, .. } = self;
        write!(
            f,
            "exercised {entries} entries, {changed} of which changed the state; commands {commands}; \
             responses {responses}; {late} commands came too late; "
        )?;
        match answers.count() {
            0 => f.write_str("no queries were asked"),
            _ => write!(f, "answers to queries {answers}"),
        }
    }
}

/// A run from which nothing follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Vacuous {
    /// No command changed anything.
    #[error("no command changed the state, so this run says nothing; {0}")]
    NothingChanged(Box<Exercised>),
    /// Every command was answered alike.
    #[error(
        "every command was answered alike, so this run says little: make commands that meet other cases, \
         or say `Subject::may_answer_alike`; {0}"
    )]
    AnsweredAlike(Box<Exercised>),
    /// Every query was answered alike.
    #[error(
        "every query was answered alike, so this run says little of queries: make some that find other \
         things, or say `Subject::may_answer_alike`; {0}"
    )]
    QueriesAnsweredAlike(Box<Exercised>),
}

/// What a run found, and what it exercised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report<T> {
    /// What the test itself says.
    pub found: T,
    /// What its commands did.
    pub exercised: Exercised,
}

impl<T: fmt::Display> fmt::Display for Report<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.found, self.exercised)
    }
}

/// Why a test of an application failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed<E: std::error::Error + 'static> {
    /// What it looks for was found.
    #[error(transparent)]
    Test(#[from] E),
    /// It could not have found anything.
    #[error("{0}")]
    Vacuous(#[source] Vacuous),
    /// Something was encoded that cannot be read back.
    #[error("{0}")]
    Unreadable(String),
}
