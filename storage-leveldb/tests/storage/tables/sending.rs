//! Snapshots that are being sent while the state goes on.

use std::path::Path;

use crate::support::log_id;
use crate::support::state_files::{manifest, tables_there};
use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;
use storage_leveldb::testing::{Random, SimDisk};
use storage_leveldb::{Storage, StorageError};
use tokio::io::AsyncReadExt;

use super::{DIR, Pairs, Register, Store, apply, change, flush, install, open, options, set, tidied_up};

const KEYS: u64 = 1000;
const MEMTABLE_BYTES: usize = 100_000;

/// More than two of the pieces that a snapshot is made in. Answers the pairs.
async fn fill(store: &mut Store) -> Pairs {
    let sets: Vec<_> = (0..KEYS).map(|n| set(format!("key-{n:04}"), "before".repeat(100))).collect();
    let mut pairs = Pairs::new();
    sets.iter().for_each(|set| change(&mut pairs, set));
    for (n, sets) in sets.chunks(100).enumerate() {
        apply(&mut store.state, 1 + 100 * n as u64, sets.to_vec()).await;
    }
    pairs
}

/// Attacks the tables under a snapshot that takes long to be sent: they must stay, unchanged,
/// although merges have long replaced them, and go when it is over. And the snapshot must not
/// keep a node from applying.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_sent_slowly_is_of_its_moment() {
    let (disk, dir) = (SimDisk::default(), Path::new(DIR));
    let mut store = open(options(disk.clone(), MEMTABLE_BYTES)).await;
    let before = fill(&mut store).await;
    let mut sending = store.state.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let held = manifest(&disk, dir).numbers();
    let mut bytes = vec![0; 1000];
    sending.snapshot.read_exact(&mut bytes).await.unwrap();

    // Overwrites and deletes until nothing counts any more that the snapshot is made of.
    let (mut applied, mut random, mut now) = (KEYS, Random::new(1), before.clone());
    while !manifest(&disk, dir).numbers().is_disjoint(&held) {
        let value = |random: &mut Random| if random.one_in(3) { String::new() } else { "after".repeat(100) };
        let mut one = || set(format!("key-{:04}", random.below(KEYS)), value(&mut random));
        let sets: Vec<_> = (0..50).map(|_| one()).collect();
        sets.iter().for_each(|set| change(&mut now, set));
        apply(&mut store.state, applied + 1, sets).await;
        applied += 50;
        assert!(applied < 1_000_000, "the oldest tables are never merged");
    }
    println!("{applied} entries until the tables {held:?} were merged");
    assert!(held.is_subset(&tables_there(&disk, dir)), "tables that are being read are gone");
    sending.snapshot.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(store.reader.query(1000).await.unwrap(), (applied, now));
    drop(sending.snapshot);
    tidied_up(&disk).await;
    assert_eq!(store.sizes.snapshot_bytes(), 0);

    let mut other = open(options(SimDisk::default(), MEMTABLE_BYTES)).await;
    install(&mut other, &sending.meta, &bytes).await;
    assert_eq!(other.reader.query(1000).await.unwrap(), (KEYS, before));
    assert_eq!(other.state.applied_state().await.unwrap().0, Some(log_id(1, KEYS)));
}

/// Attacks a storage that is closed meanwhile: the next start would remove, or write over, what is
/// being sent. As long as it is sent the directory cannot be opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_in_use_as_long_as_a_snapshot_of_it_is_sent() {
    let disk = SimDisk::default();
    let mut store = open(options(disk.clone(), MEMTABLE_BYTES)).await;
    let before = fill(&mut store).await;
    let meta = flush(&mut store).await;
    let mut sending = store.state.get_current_snapshot().await.unwrap().unwrap();
    let mut bytes = vec![0; 1000];
    sending.snapshot.read_exact(&mut bytes).await.unwrap();
    drop(store);
    let again = Storage::<_, _>::open(Path::new(DIR), Register, options(disk.clone(), MEMTABLE_BYTES)).await;
    assert!(matches!(again, Err(StorageError::Busy(_))));
    sending.snapshot.read_to_end(&mut bytes).await.unwrap();
    drop(sending);
    let store = open(options(disk, MEMTABLE_BYTES)).await;
    assert_eq!(store.reader.query(1000).await.unwrap(), (KEYS, before.clone()));
    let mut other = open(options(SimDisk::default(), MEMTABLE_BYTES)).await;
    install(&mut other, &meta, &bytes).await;
    assert_eq!(other.reader.query(1000).await.unwrap(), (KEYS, before));
}
