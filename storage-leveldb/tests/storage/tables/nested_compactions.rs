//! Compactions from within a compaction.

use std::path::Path;

use crate::support::eventually;
use crate::support::gated_disk::GatedDisk;
use crate::support::state_files::{StoredManifest, manifest};
use openraft::storage::RaftStateMachine;

use storage_leveldb::testing::Survival;

use super::{DIR, Pairs, Store, apply, change, flush, open, options, set, tidied_up};

/// Pairs of a large table: many tables, and many looks.
const LARGE: u64 = 400;
/// Less than the tables with which a flush waits.
const SMALL_TABLES: u64 = 40;
/// The compaction of four large tables makes fewer tables, all in all.
const MAX_TABLES: usize = 2000;

/// Applies, and flushes, pairs that end with an overwritten, a deleted and a new one.
async fn make_table(store: &mut Store, applied: &mut u64, pairs: &mut Pairs, count: u64) {
    let round = *applied;
    let sets: Vec<_> = (0..count)
        .map(|n| match (round + n) % 5 {
            0 => set(format!("key-{:04}", (round * 7 + n) % LARGE), ""),
            _ => set(format!("key-{:04}", (round * 3 + n) % (2 * LARGE)), format!("{round}-").repeat(40)),
        })
        .collect();
    sets.iter().for_each(|set| change(pairs, set));
    *applied += count;
    apply(&mut store.state, round + 1, sets).await;
    flush(store).await;
}

/// Steps the compaction thread from table to table until `is_there`; answers false if it has come
/// to an end before.
async fn step_until(
    disk: &GatedDisk,
    outer: &StoredManifest,
    is_there: impl Fn(&StoredManifest) -> bool,
) -> bool {
    for _ in 0..MAX_TABLES {
        disk.wait_until_held("state-compaction");
        let now = manifest(&disk.disk, Path::new(DIR));
        if !outer.tables.iter().all(|table| now.tables.contains(table)) {
            return false;
        }
        if is_there(&now) {
            return true;
        }
        disk.let_one_pass();
    }
    panic!("{MAX_TABLES} tables were not enough");
}

/// The storage cannot be closed while a thread of it is held, not even after a failure.
struct Released(GatedDisk);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Attacks a large compaction during which many small tables are made. One thread compacts: while
/// it made one table of 1 GiB, nothing else was compacted. A node that built one snapshot after the
/// other, 100 a second, came to 64 tables, with which flushes wait, then to two sealed memtables,
/// with which applying does, and was held up for 5 to 8 s. The benchmark `snapshots` found it.
///
/// The power fails in the middle of it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_flushed_during_a_large_compaction_is_compacted_before_it_ends() {
    let (disk, dir) = (GatedDisk::default(), Path::new(DIR));
    let mut store = open(options(disk.clone(), 64 << 20)).await;
    let _released = Released(disk.clone());
    let (mut applied, mut pairs) = (0, Pairs::new());
    disk.hold("state-compaction");
    for _ in 0..4 {
        make_table(&mut store, &mut applied, &mut pairs, LARGE).await;
    }
    disk.wait_until_held("state-compaction");
    let outer = manifest(&disk.disk, dir);
    assert_eq!(outer.tables.len(), 4);
    for _ in 0..SMALL_TABLES {
        make_table(&mut store, &mut applied, &mut pairs, 5).await;
    }
    assert_eq!(manifest(&disk.disk, dir).tables.len() as u64, 4 + SMALL_TABLES);
    let are_few = |manifest: &StoredManifest| manifest.tables.len() < 4 + 16;
    assert!(
        step_until(&disk, &outer, are_few).await,
        "the small tables were not compacted before the large ones"
    );
    assert_eq!(store.reader.query(100).await.unwrap(), (applied, pairs.clone()));
    let crashed =
        [Survival::Nothing, Survival::Random(1), Survival::Random(2)].map(|some| disk.disk.reboot(some));

    disk.release();
    eventually("the large tables are compacted", || manifest(&disk.disk, dir).tables.len() < 4).await;
    tidied_up(&disk.disk).await;
    assert_eq!(store.reader.query(100).await.unwrap(), (applied, pairs.clone()));
    drop(store);
    for disk in crashed.into_iter().chain([disk.disk.clone()]) {
        let mut store = open(options(disk.clone(), 64 << 20)).await;
        assert_eq!(store.reader.query(100).await.unwrap(), (applied, pairs.clone()));
        tidied_up(&disk).await;
        assert_eq!(store.health.fault(), None);
        assert_eq!(store.state.applied_state().await.unwrap().0.map(|id| id.index), Some(applied));
    }
}
