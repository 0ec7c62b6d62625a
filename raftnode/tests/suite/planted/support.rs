//! A counter for each of a few names: the application that the planted ones are like, and that has
//! no mistake.

use raftnode::testing::{DeterminismError, Digest, Failed, Random, Report, Subject};
use raftnode::{Application, At, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};

pub(crate) const ENTRIES: u64 = 200;
const NAMES: u64 = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    Add { name: String, count: u64 },
    Take { name: String, count: u64 },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Response {
    Now(u64),
    TooFew(u64),
}

/// What an application of these types does with a command.
pub(crate) type Apply<S> = fn(&S, &mut Transaction<'_, '_>, At, Command) -> Result<Response, StorageError>;

/// An application of these types, with `state` outside of the transactions.
pub(crate) struct Counters<S> {
    pub(crate) state: S,
    pub(crate) apply: Apply<S>,
    pub(crate) query: fn(&S, &mut View<'_, '_>, String) -> Result<u64, StorageError>,
}

impl<S: Send + Sync + 'static> Application for Counters<S> {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = Response;
    type Query = String;
    type Answer = u64;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        at: At,
        command: Command,
    ) -> Result<Response, StorageError> {
        (self.apply)(&self.state, txn, at, command)
    }

    fn query(&self, view: &mut View<'_, '_>, name: String) -> Result<u64, StorageError> {
        (self.query)(&self.state, view, name)
    }
}

/// What is right.
pub(crate) fn apply(txn: &mut Transaction<'_, '_>, command: Command) -> Result<Response, StorageError> {
    let (name, count, takes) = match command {
        Command::Add { name, count } => (name, count, false),
        Command::Take { name, count } => (name, count, true),
    };
    let before: u64 = txn.load(name.as_bytes())?.unwrap_or_default();
    let now = if takes { before.checked_sub(count) } else { Some(before + count) };
    let Some(now) = now else { return Ok(Response::TooFew(before)) };
    txn.store(name.as_bytes(), &now)?;
    Ok(Response::Now(now))
}

/// What is right.
pub(crate) fn query(view: &mut View<'_, '_>, name: &str) -> Result<u64, StorageError> {
    Ok(view.load(name.as_bytes())?.unwrap_or_default())
}

pub(crate) fn name(random: &mut Random) -> String {
    format!("name {}", random.below(NAMES))
}

/// Half of them take: as a rule what is there, and now and then more.
pub(crate) fn command(random: &mut Random, view: &mut View<'_, '_>) -> Command {
    let name = name(random);
    if random.one_in(2) {
        return Command::Add { name, count: 1 + random.below(20) };
    }
    let there = query(view, &name).unwrap();
    let count = if random.one_in(5) { there + 1 } else { random.below(there + 1) };
    Command::Take { name, count }
}

/// An application whose `apply` has a mistake.
pub(crate) fn subject<S: Default + Send + Sync + 'static>(apply: Apply<S>) -> Subject<Counters<S>> {
    let query = |_: &S, view: &mut View<'_, '_>, name: String| query(view, &name);
    asked(apply, query)
}

/// An application, the queries of which are asked, too.
pub(crate) fn asked<S: Default + Send + Sync + 'static>(
    apply: Apply<S>,
    query: fn(&S, &mut View<'_, '_>, String) -> Result<u64, StorageError>,
) -> Subject<Counters<S>> {
    let subject = Subject::new(move || Counters { state: S::default(), apply, query }, command);
    subject.queries(|random, _| name(random))
}

/// What the determinism test says of it.
pub(crate) fn verdict<A: Application>(
    subject: &Subject<A>,
) -> Result<Report<Digest>, Failed<DeterminismError>> {
    subject.determinism_test().entries(ENTRIES).run()
}

/// What the determinism test has found.
pub(crate) fn difference<A: Application>(subject: &Subject<A>) -> DeterminismError {
    match verdict(subject).unwrap_err() {
        Failed::Test(found) => found,
        other => panic!("{other}"),
    }
}

#[test]
fn the_one_without_a_mistake_passes_and_the_report_says_what_was_exercised() {
    let sound = subject::<()>(|(), txn, _, command| apply(txn, command));
    let report = verdict(&sound).unwrap();
    let exercised = &report.exercised;
    // The first entry is a membership.
    assert_eq!((report.found.entries, exercised.entries), (ENTRIES, ENTRIES - 1), "{report}");
    assert!(exercised.changed > ENTRIES / 2 && exercised.changed <= exercised.entries, "{report}");
    for (kinds, variants) in
        [(&exercised.commands, ["Add", "Take"]), (&exercised.responses, ["Now", "TooFew"])]
    {
        assert!(kinds.missing().is_empty() && variants.iter().all(|name| kinds.of(name) > 20), "{report}");
    }
    assert!(exercised.late > 0, "{report}");
    assert_eq!(exercised.commands.count(), exercised.responses.count() + exercised.late);
    assert!(report.to_string().contains(" × TooFew"), "{report}");
    assert!(exercised.answers.count() > ENTRIES, "{report}");
}

/// The generator sees the state: a fifth of those that take ask for more than there is, and of the
/// others those alone that come behind another of the same entry.
#[test]
fn commands_are_made_for_the_state_that_they_meet() {
    let crash = subject::<()>(|(), txn, _, command| apply(txn, command)).crash_test();
    let report = crash.points(200).steps(12).run().unwrap();
    let responses = &report.exercised.responses;
    assert!(report.found.points >= 200, "{report}");
    assert!(responses.of("Now") > 3 * responses.of("TooFew") && responses.of("TooFew") > 0, "{report}");
}
