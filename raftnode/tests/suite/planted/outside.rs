//! What is kept elsewhere than in the transaction: lost at a restart, and not in a snapshot.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use raftnode::testing::{CrashTestError, DeterminismError, Failed};
use raftnode::{StorageError, View};

use super::support::{Command, Response, apply, asked, difference, query, subject};

type Memory = Mutex<BTreeMap<String, u64>>;

/// Keeps the counters in memory, and in the transaction that there are some.
fn in_memory(
    memory: &Memory,
    txn: &mut raftnode::Transaction<'_, '_>,
    command: Command,
) -> Result<Response, StorageError> {
    let (name, count) = match command {
        Command::Add { name, count } => (name, count),
        Command::Take { name, .. } => (name, 0),
    };
    let mut memory = memory.lock().unwrap();
    let counter = memory.entry(name.clone()).or_default();
    *counter += count;
    txn.store(name.as_bytes(), counter)?;
    Ok(if count > 0 { Response::Now(*counter) } else { Response::TooFew(0) })
}

#[test]
fn state_in_memory_is_caught_at_a_restart() {
    let found = difference(&subject::<Memory>(|memory, txn, _, command| in_memory(memory, txn, command)));
    let text = found.to_string();
    assert!(matches!(found, DeterminismError::Answer { .. } | DeterminismError::State { .. }), "{text}");
    assert!(text.contains("reopened half way") || text.contains("handed over"), "{text}");
}

#[test]
fn state_in_memory_is_caught_by_a_power_failure() {
    let subject = subject::<Memory>(|memory, txn, _, command| in_memory(memory, txn, command));
    let failed = subject.crash_test().points(2000).steps(60).run().unwrap_err();
    let Failed::Test(CrashTestError::Failure(failure)) = &failed else { panic!("{failed}") };
    assert!(failure.reason.to_string().contains("the state at"), "{failed}");
}

#[test]
fn a_counter_in_memory_is_caught() {
    let found = difference(&subject::<AtomicU64>(|counter, txn, _, command| {
        let applied = counter.fetch_add(1, Ordering::Relaxed);
        Ok(match apply(txn, command)? {
            Response::Now(_) => Response::Now(applied),
            few @ Response::TooFew(_) => few,
        })
    }));
    assert!(matches!(found, DeterminismError::Answer { .. }), "{found}");
}

/// `apply` fills a cache that queries are answered from: after a restart it is empty, and a
/// follower that had a snapshot never filled it.
#[test]
fn answers_from_a_cache_are_caught() {
    let found = difference(&asked::<Memory>(
        |cache, txn, _, command| {
            let (Command::Add { name, .. } | Command::Take { name, .. }) = &command;
            let name = name.clone();
            let response = apply(txn, command)?;
            let (Response::Now(now) | Response::TooFew(now)) = response;
            cache.lock().unwrap().insert(name, now);
            Ok(response)
        },
        |cache: &Memory, _: &mut View<'_, '_>, name| {
            Ok(cache.lock().unwrap().get(&name).copied().unwrap_or_default())
        },
    ));
    let text = found.to_string();
    assert!(matches!(found, DeterminismError::Probe { .. }), "{text}");
    assert!(text.contains("the same state answers queries differently"), "{text}");
}

/// A query fills the cache, and `apply` forgets to empty it.
#[test]
fn answers_from_a_cache_that_goes_stale_are_caught() {
    let found = difference(&asked::<Memory>(
        |_, txn, _, command| apply(txn, command),
        |cache, view, name| {
            if let Some(known) = cache.lock().unwrap().get(&name) {
                return Ok(*known);
            }
            let found = query(view, &name)?;
            cache.lock().unwrap().insert(name, found);
            Ok(found)
        },
    ));
    assert!(matches!(found, DeterminismError::Probe { .. }), "{found}");
}
