//! Snapshots that are installed while the state is flushed and compacted.

use std::path::Path;

use crate::support::gated_disk::GatedDisk;
use crate::support::state_files::{manifest, tables_there};
use crate::support::{Set, eventually, log_id};
use openraft::storage::RaftStateMachine;
use storage_leveldb::testing::{Random, SimDisk};

use super::{DIR, Pairs, Store, all_of, apply, change, flush, install, open, options, seeds, set, tidied_up};

const ROUNDS: u64 = 40;
const KEYS: u64 = 80;

/// The entry that every member has at this index.
fn entry(seed: u64, index: u64) -> Set {
    let mut random = Random::new(seed << 32 | index);
    let key = format!("key-{:02}", random.below(KEYS));
    if random.below(10) < 4 { set(key, "") } else { set(key, format!("{index}-").repeat(20)) }
}

/// The pairs after this entry.
fn pairs(seed: u64, last: u64) -> Pairs {
    let mut pairs = Pairs::new();
    (1..=last).for_each(|index| change(&mut pairs, &entry(seed, index)));
    pairs
}

async fn apply_up_to(store: &mut Store, seed: u64, applied: &mut u64, last: u64) {
    while *applied < last {
        let end = last.min(*applied + 10);
        apply(&mut store.state, *applied + 1, (*applied + 1..=end).map(|index| entry(seed, index))).await;
        *applied = end;
    }
}

/// Attacks what was begun before a snapshot was installed and ends after it: a flush or a
/// compaction of the old state that still counted would bring back pairs that the snapshot has not
/// got, or lose those that were applied since.
///
/// `TABLES_SEED=17` runs one history again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installing_meets_flushes_and_compactions() {
    histories(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "more seeds: .ci/run"]
async fn installing_meets_flushes_and_compactions_of_many_seeds() {
    histories(5).await;
}

async fn histories(count: u64) {
    for seed in seeds(0..count) {
        println!("TABLES_SEED={seed}");
        rounds(seed).await;
    }
}

/// What the state must be, kept as long as nothing but newer entries comes.
struct Expected {
    seed: u64,
    last: u64,
    pairs: Pairs,
}

impl Expected {
    /// The pairs after entry `last`, which is none older than the last one asked for.
    fn at(&mut self, last: u64) -> &Pairs {
        assert!(last >= self.last, "{last} after {}", self.last);
        (self.last + 1..=last).for_each(|index| change(&mut self.pairs, &entry(self.seed, index)));
        self.last = last;
        &self.pairs
    }

    async fn is_what(&mut self, store: &Store, at: u64, context: &str) {
        let (applied, found) = store.reader.query(9).await.unwrap();
        assert!(applied == at && found == *self.at(at), "{context}");
    }
}

async fn rounds(seed: u64) {
    let (disk, mut random) = (SimDisk::default(), Random::new(seed));
    let options = || options(disk.clone(), 3000);
    let mut leader = open(super::options(SimDisk::default(), 1 << 20)).await;
    let mut store = open(options()).await;
    let (mut leader_at, mut at) = (0, 0);
    let mut expected = Expected { seed, last: 0, pairs: Pairs::new() };
    for round in 0..ROUNDS {
        let context = format!("seed {seed}, round {round}");
        // Does not wait for what it makes the threads do.
        let last = at + 1 + random.below(300);
        apply_up_to(&mut store, seed, &mut at, last).await;
        let last = at.max(leader_at) + 1 + random.below(50);
        apply_up_to(&mut leader, seed, &mut leader_at, last).await;
        let meta = flush(&mut leader).await;
        let bytes = all_of(leader.state.get_current_snapshot().await.unwrap().unwrap().snapshot).await;
        let mut received = store.inbox.create().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut received, &bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut received).await.unwrap();
        let last = (at + random.below(100)).min(leader_at);
        apply_up_to(&mut store, seed, &mut at, last).await;
        store.state.install_snapshot(&meta, received).await.unwrap();
        at = leader_at;
        expected.is_what(&store, at, &context).await;
        let last = at + random.below(200);
        apply_up_to(&mut store, seed, &mut at, last).await;
        expected.is_what(&store, at, &format!("{context}, gone on")).await;
        if random.one_in(3) {
            tidied_up(&disk).await;
        }
        if random.one_in(3) {
            drop(store);
            store = open(options()).await;
            expected.is_what(&store, at, &format!("{context}, reopened")).await;
            tidied_up(&disk).await;
        }
    }
    assert_eq!(store.health.fault(), None);
}

/// The same with the threads held in the middle of what they do, and nothing else going on when
/// they end: what came too late must go by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_before_a_snapshot_does_not_count_after_it() {
    let seed = 1;
    let mut leader = open(options(SimDisk::default(), 1 << 20)).await;
    apply_up_to(&mut leader, seed, &mut 0, 1000).await;
    let meta = flush(&mut leader).await;
    let bytes = all_of(leader.state.get_current_snapshot().await.unwrap().unwrap().snapshot).await;
    for held in ["state-flush", "state-compaction"] {
        let (disk, dir) = (GatedDisk::default(), Path::new(DIR));
        let mut store = open(options(disk.clone(), 10_000)).await;
        disk.hold(held);
        let mut at = 0;
        // Four tables, which are compacted, or the first of them.
        for last in [50, 100, 150, 200] {
            apply_up_to(&mut store, seed, &mut at, last).await;
            let builder = store.state.get_snapshot_builder().await;
            if held == "state-compaction" {
                drop(builder);
                flush(&mut store).await;
            } else if last == 50 {
                break;
            }
        }
        disk.wait_until_held(held);
        install(&mut store, &meta, &bytes).await;
        assert_eq!(store.reader.query(9).await.unwrap(), (1000, pairs(seed, 1000)), "{held}");
        disk.release();
        eventually("what came too late is gone", || tables_there(&disk, dir).len() == 1).await;
        assert_eq!(manifest(&disk.disk, dir).numbers(), tables_there(&disk, dir), "{held}");
        assert_eq!(store.reader.query(9).await.unwrap(), (1000, pairs(seed, 1000)), "{held}");
        drop(store);
        let mut store = open(options(disk, 10_000)).await;
        assert_eq!(store.state.applied_state().await.unwrap().0, Some(log_id(1, 1000)));
        assert_eq!(store.reader.query(9).await.unwrap(), (1000, pairs(seed, 1000)), "{held}");
    }
}
