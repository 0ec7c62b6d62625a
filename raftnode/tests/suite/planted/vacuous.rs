//! Runs from which nothing follows.

use raftnode::testing::{Failed, Subject, Vacuous};
use raftnode::{Application, At, StorageError, Transaction, View};

use super::support::{Command, Counters, apply, query, verdict};

fn sound(command: fn() -> Command) -> Subject<Counters<()>> {
    let application = || Counters {
        state: (),
        apply: |(), txn, _, command| apply(txn, command),
        query: |(), view, name| query(view, &name),
    };
    Subject::new(application, move |_, _| command())
}

fn take() -> Command {
    Command::Take { name: "a".to_owned(), count: 1 }
}

fn add() -> Command {
    Command::Add { name: "a".to_owned(), count: 1 }
}

#[test]
fn a_run_that_changes_nothing_fails() {
    let failed = verdict(&sound(take)).unwrap_err();
    let Failed::Vacuous(Vacuous::NothingChanged(exercised)) = &failed else { panic!("{failed}") };
    assert_eq!(exercised.changed, 0);
    assert!(failed.to_string().contains("no Now"), "{failed}");
    let failed = sound(take).crash_test().points(50).steps(12).run().unwrap_err();
    assert!(matches!(failed, Failed::Vacuous(Vacuous::NothingChanged(_))), "{failed}");
}

#[test]
fn a_run_with_one_kind_of_response_fails_unless_that_is_all_there_is() {
    let failed = verdict(&sound(add)).unwrap_err();
    let Failed::Vacuous(Vacuous::AnsweredAlike(exercised)) = &failed else { panic!("{failed}") };
    assert_eq!(exercised.responses.missing(), ["TooFew"], "{failed}");
    verdict(&sound(add).may_answer_alike()).unwrap();
}

/// Changes something, and answers a number.
struct Numbers(fn(At) -> u64);

impl Application for Numbers {
    const SCHEMA: u32 = 1;
    type Command = ();
    type Response = u64;
    type Query = ();
    type Answer = ();

    fn apply(&self, txn: &mut Transaction<'_, '_>, at: At, (): ()) -> Result<u64, StorageError> {
        txn.store(b"position", &at.position)?;
        Ok((self.0)(at))
    }

    fn query(&self, _: &mut View<'_, '_>, (): ()) -> Result<(), StorageError> {
        Ok(())
    }
}

/// A type without variants can only be told by its values.
#[test]
fn a_response_that_is_always_the_same_number_is_one_kind() {
    let failed = verdict(&Subject::new(|| Numbers(|_| 7), |_, _| ())).unwrap_err();
    assert!(matches!(failed, Failed::Vacuous(Vacuous::AnsweredAlike(_))), "{failed}");
    let report = verdict(&Subject::new(|| Numbers(|at| at.position), |_, _| ())).unwrap();
    assert!(report.to_string().contains("100 or more different ones"), "{report}");
}

#[test]
fn queries_that_find_the_same_all_the_time_are_vacuous() {
    let asked = |name: &'static str| {
        let subject = super::support::subject::<()>(|(), txn, _, command| apply(txn, command));
        verdict(&subject.queries(move |_, _| name.to_owned()))
    };
    let failed = asked("a name that no command has").unwrap_err();
    assert!(matches!(failed, Failed::Vacuous(Vacuous::QueriesAnsweredAlike(_))), "{failed}");
    let report = asked("name 1").unwrap();
    assert!(report.exercised.answers.count() > 0, "{report}");
    let subject = sound(add).may_answer_alike();
    assert!(verdict(&subject).unwrap().to_string().contains("no queries were asked"));
}
