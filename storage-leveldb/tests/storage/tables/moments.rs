//! Queries while entries are applied, flushed and compacted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::support::state_files::{manifest, tables_there};
use storage_leveldb::StateReader;
use storage_leveldb::testing::{Random, SimDisk};

use super::{DIR, Pairs, Register, apply, open, options, set};
use crate::support::Types;

const ACCOUNTS: u64 = 40;
const BALANCE: u64 = 1000;
const TABLES: u64 = 200;

fn account(n: u64) -> String {
    format!("account-{n:02}")
}

/// Asks again and again, as pages of another size each time; answers how often.
fn audit(reader: &StateReader<Types, Register>, is_over: &AtomicBool, asked: &AtomicU64) {
    let mut last_at = 0;
    for page in [1, 3, 7, 39, 40, 1000].into_iter().cycle() {
        let (at, pairs) = reader.query_blocking(page).unwrap();
        let sum: u64 = pairs.values().map(|value| value.trim().parse::<u64>().unwrap()).sum();
        assert_eq!((pairs.len() as u64, sum), (ACCOUNTS, ACCOUNTS * BALANCE), "at {at}, pages of {page}");
        assert!(at >= last_at && at % 2 == 0, "{at} after {last_at}");
        last_at = at;
        asked.fetch_add(1, Ordering::Relaxed);
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
}

/// Attacks reads that are put together from several moments: a memtable that is sealed, a table
/// that comes and those that go between two pages of a scan, half of a batch. What one entry takes
/// from an account, the next gives to another in the same batch; so the sum is always the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_sees_one_moment_whatever_goes_on() {
    let (disk, dir) = (SimDisk::default(), Path::new(DIR));
    let mut store = open(options(disk.clone(), 5000)).await;
    let mut balances: Pairs = (0..ACCOUNTS).map(|n| (account(n), BALANCE.to_string())).collect();
    apply(&mut store.state, 1, balances.iter().map(|(key, value)| set(key, value))).await;
    let mut applied = ACCOUNTS;
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let auditors: Vec<_> = (0..3)
        .map(|_| {
            let (reader, is_over, asked) = (store.reader.clone(), is_over.clone(), asked.clone());
            thread::spawn(move || audit(&reader, &is_over, &asked))
        })
        .collect();
    let mut random = Random::new(1);
    // Every flush and every compaction makes one; only compactions take any away.
    while tables_there(&disk, dir).last().is_none_or(|newest| *newest < TABLES) {
        let from = random.below(ACCOUNTS);
        let to = (from + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
        let balance = |n| balances[&account(n)].trim().parse::<u64>().unwrap();
        let amount = random.below(balance(from) + 1);
        let moved = [(account(from), balance(from) - amount), (account(to), balance(to) + amount)];
        let moved = moved.map(|(key, balance)| set(key, format!("{balance:<50}")));
        moved.iter().for_each(|set| super::change(&mut balances, set));
        apply(&mut store.state, applied + 1, moved).await;
        applied += 2;
        assert!(auditors.iter().all(|auditor| !auditor.is_finished()), "an auditor has ended");
    }
    is_over.store(true, Ordering::Relaxed);
    auditors.into_iter().for_each(|auditor| auditor.join().unwrap());
    let (asked, tables) = (asked.load(Ordering::Relaxed), manifest(&disk, dir).tables.len());
    println!("{asked} queries, {} batches, {tables} tables left", applied / 2);
    assert!(asked >= 10, "only {asked} queries");
    assert!(tables < TABLES as usize / 2, "{tables} tables are left: hardly any was compacted");
    assert_eq!(store.reader.query(100).await.unwrap(), (applied, balances));
}
