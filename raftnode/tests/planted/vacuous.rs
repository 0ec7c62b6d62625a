//! Runs from which nothing follows.

use raftnode::testing::{Failed, Subject, Vacuous};

use super::support::{Command, Counters, Response, apply, query, verdict};

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

/// A number that is always the same is one kind of response.
#[test]
fn a_response_without_variants_is_told_by_its_value() {
    let application = || Counters {
        state: (),
        apply: |(), txn, at, _| {
            txn.store(b"position", &at.position)?;
            Ok(Response::Now(7))
        },
        query: |(), view, name| query(view, &name),
    };
    let failed = verdict(&Subject::new(application, |_, _| take())).unwrap_err();
    assert!(matches!(failed, Failed::Vacuous(Vacuous::AnsweredAlike(_))), "{failed}");
}
