//! What differs from run to run, or from member to member.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use raftnode::testing::{DeterminismError, Random, Subject};
use raftnode::{Application, At, MergeOperator, StorageError, Transaction, View};

use super::support::{Command, Response, apply, difference, query, subject, verdict};

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Found by an author: two runs of the test were over within the same second, and agreed.
#[test]
fn the_time_of_day_in_seconds_is_caught() {
    let stamped = subject::<()>(|(), txn, _, command| {
        txn.store(b"changed at", &seconds())?;
        apply(txn, command)
    });
    let found = difference(&stamped);
    let DeterminismError::State { index: 1, difference, .. } = &found else { panic!("{found}") };
    assert!(difference.key.ends_with(b"changed at"), "{found}");
}

#[test]
fn the_time_of_day_in_a_response_is_caught() {
    let stamped = subject::<()>(|(), txn, _, command| {
        apply(txn, command)?;
        Ok(Response::Now(seconds()))
    });
    let found = difference(&stamped);
    assert!(matches!(found, DeterminismError::Answer { index: 1, .. }), "{found}");
}

/// It removes "one of" what it has read.
#[test]
fn the_order_of_a_hash_map_is_caught() {
    let shuffled = subject::<()>(|(), txn, _, command| {
        let mut there = HashMap::new();
        for name in ["name 0", "name 1", "name 2", "name 3", "name 4"] {
            if let Some(bytes) = txn.get(name.as_bytes())? {
                there.insert(name, bytes);
            }
        }
        if there.len() > 3
            && let Some(first) = there.keys().next()
        {
            txn.delete(first.as_bytes());
        }
        apply(txn, command)
    });
    let found = difference(&shuffled);
    assert!(matches!(found, DeterminismError::State { .. } | DeterminismError::Answer { .. }), "{found}");
}

/// Takes the difference of what it merges: (9 - 5) - 2 is not 9 - (5 - 2).
struct Differences;

impl MergeOperator for Differences {
    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
        let number =
            |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| "no number".to_owned());
        Ok(number(older)?.abs_diff(number(operand)?).to_le_bytes().to_vec())
    }
}

struct Merging;

impl Application for Merging {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = ();
    type Query = String;
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, command: Command) -> Result<(), StorageError> {
        let (Command::Add { name, count } | Command::Take { name, count }) = command;
        txn.merge(name.as_bytes(), &count.to_le_bytes())
    }

    fn query(&self, view: &mut View<'_, '_>, name: String) -> Result<u64, StorageError> {
        query(view, &name)
    }

    fn merge_operator(&self) -> Option<&dyn MergeOperator> {
        Some(&Differences)
    }
}

fn addition(random: &mut Random, _: &mut View<'_, '_>) -> Command {
    Command::Add { name: super::support::name(random), count: 1 + random.below(1000) }
}

#[test]
fn a_merge_that_is_not_associative_is_caught() {
    let found = difference(&Subject::new(|| Merging, addition));
    let DeterminismError::State { difference, .. } = &found else { panic!("{found}") };
    assert!(difference.key.windows(4).any(|part| part == b"name"), "{found}");
}

/// A response that has but one value is none that all are alike.
#[test]
fn a_merge_that_is_associative_passes() {
    struct Sums;
    impl Application for Sums {
        const SCHEMA: u32 = 1;
        type Command = Command;
        type Response = ();
        type Query = ();
        type Answer = ();

        fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, command: Command) -> Result<(), StorageError> {
            let (Command::Add { name, count } | Command::Take { name, count }) = command;
            txn.merge(name.as_bytes(), &count.to_le_bytes())
        }

        fn query(&self, _: &mut View<'_, '_>, (): ()) -> Result<(), StorageError> {
            Ok(())
        }

        fn merge_operator(&self) -> Option<&dyn MergeOperator> {
            struct Add;
            impl MergeOperator for Add {
                fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
                    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap();
                    Ok(number(older).wrapping_add(number(operand)).to_le_bytes().to_vec())
                }
            }
            Some(&Add)
        }
    }
    let report = verdict(&Subject::new(|| Sums, addition)).unwrap();
    assert_eq!(report.exercised.commands.missing(), ["Take"], "{report}");
}
