//! Long random histories, next to a map.

use std::path::Path;

use crate::support::state_files::{manifest, tables_there};
use crate::support::{Set, eventually, log_id};
use openraft::storage::RaftStateMachine;
use storage_leveldb::testing::{Random, SimDisk};

use super::{DIR, Pairs, apply, change, flush, open, options, seeds, set, tidied_up};

const BATCHES: u64 = 300;
/// Four tables of the same size are compacted, and all of them are of the smallest here.
const FEW_TABLES: usize = 3;

/// Overwrites and deletions are as frequent as new keys.
fn batch(random: &mut Random, keys: u64) -> Vec<Set> {
    let mut one = || {
        let key = format!("key-{:03}", random.below(keys));
        if random.below(10) < 4 { set(key, "") } else { set(key, "v".repeat(1 + random.position(150))) }
    };
    (0..20).map(|_| one()).take(1 + keys as usize % 20).collect()
}

/// Attacks the order of tables: a compaction or a restart that puts an older table before a newer
/// one, or takes a deletion for nothing while an older table still has the pair, brings back what
/// was overwritten or deleted. And that tables stay few, though one is made for every few entries.
///
/// `TABLES_SEED=17` runs one history again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_flushed_and_merged_the_pairs_are_those_of_a_map() {
    histories(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three times as many seeds: .ci/run"]
async fn of_many_histories_the_pairs_are_those_of_a_map() {
    histories(12).await;
}

async fn histories(count: u64) {
    let mut tables_made = 0;
    for seed in seeds(0..count) {
        println!("TABLES_SEED={seed}");
        tables_made += history(seed).await;
    }
    println!("{tables_made} tables");
    let enough = tables_made > 40 * count || std::env::var("TABLES_SEED").is_ok();
    assert!(enough, "only {tables_made} tables were made");
}

/// Answers how many tables were made.
async fn history(seed: u64) -> u64 {
    let (disk, dir, mut random) = (SimDisk::default(), Path::new(DIR), Random::new(seed));
    let keys = [8, 60, 400][random.position(3)];
    let options = || options(disk.clone(), [600, 3000][seed as usize % 2]);
    let (mut pairs, mut applied) = (Pairs::new(), 0);
    let mut store = open(options()).await;
    for n in 0..BATCHES {
        let context = format!("seed {seed}, batch {n}");
        let sets = batch(&mut random, keys);
        sets.iter().for_each(|set| change(&mut pairs, set));
        let first = applied + 1;
        applied += sets.len() as u64;
        apply(&mut store.state, first, sets).await;
        assert!(store.reader.query(7).await.unwrap() == (applied, pairs.clone()), "{context}");
        if random.one_in(20) {
            flush(&mut store).await;
        }
        if random.one_in(40) {
            drop(store);
            store = open(options()).await;
            let (last, _) = store.state.applied_state().await.unwrap();
            assert_eq!(last, Some(log_id(1, applied)), "{context}");
            assert!(store.reader.query(7).await.unwrap() == (applied, pairs.clone()), "{context}, reopened");
            let few = || tables_there(&disk, dir).len() <= FEW_TABLES;
            eventually("few tables are left", few).await;
        }
    }
    assert_eq!(store.health.fault(), None);
    let newest = tables_there(&disk, dir).last().copied();
    newest.unwrap_or(0)
}

/// Attacks deletions that are kept for ever: a table hides older ones only as long as there are
/// any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_deleted_pairs_once_all_tables_are_compacted() {
    let (disk, dir) = (SimDisk::default(), Path::new(DIR));
    let mut store = open(options(disk.clone(), 1 << 20)).await;
    let mut applied = 0;
    for value in ["something", "", "again", ""] {
        apply(&mut store.state, applied + 1, (0..100).map(|n| set(format!("key-{n}"), value))).await;
        applied += 100;
        flush(&mut store).await;
    }
    eventually("all tables are compacted into none", || manifest(&disk, dir).tables.is_empty()).await;
    tidied_up(&disk).await;
    assert_eq!(store.sizes.state_bytes(), 0);
    drop(store);
    let store = open(options(disk, 1 << 20)).await;
    assert_eq!(store.reader.query(100).await.unwrap(), (applied, Pairs::new()));
}

/// Attacks the space that overwritten and deleted pairs take. A pair may be in one table of each
/// size, and be compacted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_is_bounded_by_what_is_there_and_not_by_what_was_written() {
    const LIVE_BYTES: u64 = 500_000;
    const ROUNDS: u64 = 30;
    let disk = SimDisk::default();
    let mut store = open(options(disk.clone(), 50_000)).await;
    let (mut applied, mut greatest) = (0, 0);
    for round in 0..ROUNDS {
        for value in ["v".repeat(1000), String::new()] {
            for first in (0..500).step_by(50) {
                let sets = (first..first + 50).map(|n| set(format!("key-{}", (n * 7 + round) % 500), &value));
                apply(&mut store.state, applied + 1, sets).await;
                applied += 50;
            }
        }
        tidied_up(&disk).await;
        greatest = greatest.max(store.sizes.state_bytes());
    }
    println!("{} bytes went in, {greatest} at most were kept", ROUNDS * LIVE_BYTES);
    // Three tables of a size and three times as much in the smaller ones.
    assert!(greatest < 6 * LIVE_BYTES, "{greatest} bytes");
    assert_eq!(store.reader.query(100).await.unwrap().1.len(), 0);
}
