//! The determinism test passes an application that is deterministic, and says where others part.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::crash::random_set;
use crate::support::{Register, Set, Types};
use storage_leveldb::testing::DeterminismTest;
use storage_leveldb::testing::determinism::DeterminismError;
use storage_leveldb::{Application, StorageError, Transaction, View};

#[test]
fn the_same_log_has_the_same_effects_on_both_engines() {
    let digests: Vec<_> = (0..5)
        .map(|seed| {
            let test = DeterminismTest::<Types, Register>::new(|| Register, random_set).seed(seed);
            let digest = test.run().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            println!("seed {seed}: {digest}");
            digest
        })
        .collect();
    assert!(digests.iter().all(|digest| digest.entries == 1000));
    assert_ne!(digests[0], digests[1], "another log has other effects");
}

/// What is wrong with an application.
#[derive(Clone, Copy)]
enum Flaw {
    /// It answers with a number that it counts itself: not the same after a restart.
    CountsItself,
    /// It stores what comes first in a `HashMap`: its order differs from map to map.
    OrderOfAHashMap,
    /// The same, but it stores the number.
    CountsInMemory,
    /// It merges so that what is merged first makes a difference.
    MergesTheOlderTwice,
}

struct Flawed {
    flaw: Flaw,
    counter: AtomicU64,
}

impl Application<Types> for Flawed {
    type Query = ();
    type Answer = ();

    fn apply(&self, txn: &mut Transaction<'_>, _: u64, set: &Set) -> Result<Option<String>, StorageError> {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let key = set.key.as_bytes();
        match self.flaw {
            Flaw::CountsItself => return Ok(Some(count.to_string())),
            Flaw::OrderOfAHashMap => {
                let map: HashMap<u8, u8> = (0..50).map(|i| (i, i)).collect();
                txn.put(key, &[*map.keys().next().unwrap()]);
            }
            Flaw::CountsInMemory => txn.put(key, &count.to_le_bytes()),
            Flaw::MergesTheOlderTwice => txn.merge(key, &[1])?,
        }
        Ok(None)
    }

    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        Ok(vec![older[0].wrapping_mul(2).wrapping_add(operand[0])])
    }

    fn query(&self, _: &mut View<'_>, (): ()) -> Result<(), StorageError> {
        Ok(())
    }
}

fn error(flaw: Flaw) -> DeterminismError {
    let application = move || Flawed { flaw, counter: AtomicU64::new(0) };
    let error =
        DeterminismTest::<Types, Flawed>::new(application, random_set).entries(100).run().unwrap_err();
    println!("{error}");
    error
}

#[test]
fn an_application_that_counts_its_answers_is_caught_behind_the_restart() {
    let error = error(Flaw::CountsItself);
    let DeterminismError::Answer { index, run, .. } = &error else { panic!("{error}") };
    assert_eq!(*index, 50);
    assert!(run.contains("reopened"), "{run}");
}

#[test]
fn an_application_that_relies_on_the_order_of_a_hash_map_is_caught() {
    let error = error(Flaw::OrderOfAHashMap);
    assert!(matches!(error, DeterminismError::State { .. }), "{error}");
}

#[test]
fn an_application_that_keeps_state_outside_its_pairs_is_caught() {
    let error = error(Flaw::CountsInMemory);
    let DeterminismError::State { index, run, .. } = &error else { panic!("{error}") };
    assert!(*index >= 50 && run.contains("reopened"), "{error}");
}

#[test]
fn an_application_whose_merge_is_not_associative_is_caught() {
    let error = error(Flaw::MergesTheOlderTwice);
    assert!(matches!(error, DeterminismError::State { .. }), "{error}");
}
