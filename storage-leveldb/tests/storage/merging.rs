//! What is merged into a value counts, once and in its order, wherever the value and what was
//! merged into it lie: in the same batch, in the same memtable, in tables, in a snapshot.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use openraft::{RaftSnapshotBuilder, RaftTypeConfig};
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::{Random, SimDisk};
use storage_leveldb::{Application, Options, Storage, StorageError, Transaction, View};

use crate::support::{Set, Types, changed, eventually, log_id};

type Entry = <Types as RaftTypeConfig>::Entry;
type Pairs = Vec<(Bytes, Bytes)>;
type Model = BTreeMap<Bytes, Bytes>;
type Store = Storage<Types, Tape>;

const KEYS: u64 = 12;
const EVERYTHING: ScanLimit = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };

enum Op {
    Put(Bytes, Bytes),
    Append(Bytes, Bytes),
    Delete(Bytes),
    Get(Bytes),
    Scan(KeyRange, ScanLimit),
}

/// The command that makes a table that is too large to be compacted with those that come after it.
const FILL: u64 = u64::MAX;

fn fill() -> Vec<Op> {
    let pair = |n: u64| Op::Put(format!("key-{n:02} is taken").into(), vec![b'x'; 1000].into());
    (0..300).map(pair).collect()
}

/// The operations of a command.
fn ops(seed: u64) -> Vec<Op> {
    if seed == FILL {
        return fill();
    }
    let mut random = Random::new(seed);
    let key = |random: &mut Random| Bytes::from(format!("key-{:02}", random.below(KEYS)));
    let piece = |random: &mut Random| Bytes::from(format!("{},", random.below(1000)));
    let mut op = || match random.below(10) {
        0 => Op::Put(key(&mut random), piece(&mut random)),
        1..6 => Op::Append(key(&mut random), piece(&mut random)),
        6 => Op::Delete(key(&mut random)),
        7 | 8 => Op::Get(key(&mut random)),
        _ => {
            let (start, end) = (key(&mut random), random.one_in(2).then(|| key(&mut random)));
            let limit = ScanLimit { pairs: random.position(4) + 1, bytes: usize::MAX };
            Op::Scan(KeyRange { start, end }, limit)
        }
    };
    (0..6).map(|_| op()).collect()
}

/// Does what is meant, on a map; answers what was read.
fn expected(model: &mut Model, seed: u64) -> Vec<Pairs> {
    let mut read = Vec::new();
    for op in ops(seed) {
        match op {
            Op::Put(key, value) => drop(model.insert(key, value)),
            Op::Append(key, piece) => {
                let value = [model.get(&key).map_or(&[][..], |value| value), &piece].concat();
                model.insert(key, value.into());
            }
            Op::Delete(key) => drop(model.remove(&key)),
            Op::Get(key) => read
                .push(model.get_key_value(&key).map(|(k, v)| (k.clone(), v.clone())).into_iter().collect()),
            Op::Scan(range, limit) => {
                let found = model.iter().filter(|(key, _)| range.contains(key)).take(limit.pairs);
                read.push(found.map(|(key, value)| (key.clone(), value.clone())).collect());
            }
        }
    }
    read
}

/// Does the operations, and writes down what they read.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<Pairs>>>);

impl Application<Types> for Tape {
    /// A key, or everything.
    type Query = Option<Bytes>;
    type Answer = Pairs;

    fn apply(&self, txn: &mut Transaction<'_>, _: u64, set: &Set) -> Result<Option<String>, StorageError> {
        for op in ops(set.value.parse().unwrap()) {
            match op {
                Op::Put(key, value) => txn.put(&key, &value),
                Op::Append(key, piece) => txn.merge(&key, &piece)?,
                Op::Delete(key) => txn.delete(&key),
                Op::Get(key) => {
                    let found = txn.get(&key)?.map(|value| (key, value)).into_iter().collect();
                    self.0.lock().unwrap().push(found);
                }
                Op::Scan(range, limit) => {
                    let found = limit.first_of(txn.scan(range))?;
                    self.0.lock().unwrap().push(found);
                }
            }
        }
        Ok(None)
    }

    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        Ok([older, operand].concat())
    }

    fn query(&self, view: &mut View<'_>, key: Option<Bytes>) -> Result<Pairs, StorageError> {
        match key {
            Some(key) => Ok(view.get(&key)?.map(|value| (key, value)).into_iter().collect()),
            None => view.scan(KeyRange::all()).collect(),
        }
    }
}

/// Memtables and tables of a few changes.
fn options(disk: &SimDisk) -> Options {
    let options = Options::default().with_disk(Arc::new(disk.clone())).with_table_file_bytes(400);
    changed(options, |options| options.memtable_bytes = 4000)
}

async fn open(disk: &SimDisk, tape: &Tape) -> Store {
    Storage::open(Path::new("db"), tape.clone(), options(disk)).await.unwrap()
}

/// The state, looked at in two ways.
async fn check(store: &Store, model: &Model, what: &str) {
    let found = store.reader.query(None).await.unwrap();
    let differs = found.iter().zip(model).find(|((key, value), expected)| (key, value) != *expected);
    assert!(
        found.len() == model.len() && differs.is_none(),
        "{what}: {} of {} pairs; {differs:?}",
        found.len(),
        model.len()
    );
    for key in (0..KEYS).map(|n| Bytes::from(format!("key-{n:02}"))) {
        let found = store.reader.query(Some(key.clone())).await.unwrap();
        assert_eq!(found.first().map(|(_, value)| value), model.get(&key), "{what}: {key:?}");
    }
}

/// A storage, and what must be in it.
struct Life {
    disk: SimDisk,
    tape: Tape,
    store: Store,
    model: Model,
    applied: u64,
}

impl Life {
    async fn new() -> Self {
        let (disk, tape) = (SimDisk::default(), Tape::default());
        let store = open(&disk, &tape).await;
        Self { disk, tape, store, model: Model::new(), applied: 0 }
    }

    async fn apply(&mut self, random: &mut Random, what: &str) {
        let seeds: Vec<u64> = (0..=random.position(6)).map(|_| random.number()).collect();
        self.apply_all(&seeds, what).await;
    }

    async fn apply_all(&mut self, seeds: &[u64], what: &str) {
        let mut entries = Vec::new();
        let mut read = Vec::new();
        for &seed in seeds {
            self.applied += 1;
            let set = Set { key: String::new(), value: seed.to_string() };
            entries.push(Ok((Entry::new_normal(log_id(1, self.applied), set), None)));
            read.extend(expected(&mut self.model, seed));
        }
        self.store.state.apply(futures_util::stream::iter(entries)).await.unwrap();
        assert_eq!(std::mem::take(&mut *self.tape.0.lock().unwrap()), read, "{what}: read by a transaction");
    }

    /// Another storage goes on from a snapshot, which shows the state as it was when it was begun.
    async fn hand_over(&mut self, random: &mut Random, what: &str) {
        let then = self.model.clone();
        let applied = self.applied;
        let mut builder = self.store.state.get_snapshot_builder().await;
        for _ in 0..random.position(4) {
            self.apply(random, what).await;
        }
        let snapshot = builder.build_snapshot().await.unwrap();
        assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, applied)));
        let mut other = Self::new().await;
        other.store.state.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
        (other.model, other.applied) = (then, applied);
        check(&other.store, &other.model, what).await;
        *self = other;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_merged_counts_wherever_it_lies() {
    what_is_merged_counts(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three times as many seeds: .ci/run"]
async fn what_is_merged_counts_with_many_seeds() {
    what_is_merged_counts(25).await;
}

async fn what_is_merged_counts(seeds: u64) {
    let first: u64 = std::env::var("MERGING_SEED").map_or(0, |seed| seed.parse().unwrap());
    let (mut reopened, mut handed_over) = (0, 0);
    for seed in first..first + seeds {
        let mut random = Random::new(seed);
        let mut life = Life::new().await;
        if seed % 2 == 0 {
            life.apply(&mut random, "before there is a large table").await;
            life.apply_all(&[FILL], "the large table").await;
        }
        for step in 0..150 {
            let what = format!("MERGING_SEED={seed}, step {step}");
            life.apply(&mut random, &what).await;
            match random.below(20) {
                0 => drop(life.store.state.get_snapshot_builder().await.build_snapshot().await.unwrap()),
                1 => {
                    drop(life.store);
                    life.store = open(&life.disk, &life.tape).await;
                    reopened += 1;
                }
                2 => {
                    life.hand_over(&mut random, &what).await;
                    handed_over += 1;
                }
                3..8 => check(&life.store, &life.model, &what).await,
                _ => {}
            }
        }
        check(&life.store, &life.model, &format!("MERGING_SEED={seed}, in the end")).await;
    }
    assert!(reopened > 2 * seeds && handed_over > 2 * seeds, "{reopened}, {handed_over}");
}

/// The seed of a command that only appends.
fn an_append() -> u64 {
    (0..).find(|seed| ops(*seed).iter().all(|op| matches!(op, Op::Append(..)))).unwrap()
}

/// Why one merges: the old value need not be read, however many tables it may be in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merging_reads_nothing_from_the_disk() {
    let mut life = Life::new().await;
    let mut random = Random::new(1);
    for _ in 0..50 {
        life.apply(&mut random, "filling").await;
    }
    drop(life.store.state.get_snapshot_builder().await.build_snapshot().await.unwrap());
    drop(life.store);
    // Opened anew, and with a memtable that is never full, nothing is in memory and nothing goes on
    // in the background.
    let mut options = options(&life.disk);
    options.memtable_bytes = usize::MAX;
    life.store = Storage::open(Path::new("db"), life.tape.clone(), options).await.unwrap();
    let seed = an_append();
    let reads = life.disk.reads();
    for _ in 0..100 {
        life.applied += 1;
        let set = Set { key: String::new(), value: seed.to_string() };
        let entry = Ok((Entry::new_normal(log_id(1, life.applied), set), None));
        life.store.state.apply(futures_util::stream::iter([entry])).await.unwrap();
        expected(&mut life.model, seed);
    }
    // The log tidies up after a start, and reads some names. Merging that reads does so each time.
    let read = life.disk.reads() - reads;
    assert!(read < 10, "100 merges read {read} times");
    check(&life.store, &life.model, "then").await;
    assert!(life.disk.reads() > reads, "a query reads the disk");
}

/// Merges until it shall not.
#[derive(Clone, Default)]
struct Refusing(Arc<std::sync::atomic::AtomicBool>);

impl Application<Types> for Refusing {
    type Query = ();
    type Answer = Option<Bytes>;

    fn apply(&self, txn: &mut Transaction<'_>, _: u64, set: &Set) -> Result<Option<String>, StorageError> {
        txn.merge(set.key.as_bytes(), set.value.as_bytes())?;
        Ok(None)
    }

    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        assert!(!self.0.load(std::sync::atomic::Ordering::Relaxed), "no merge any more");
        Ok([older, operand].concat())
    }

    fn query(&self, view: &mut View<'_>, (): ()) -> Result<Self::Answer, StorageError> {
        view.get(b"key")
    }
}

async fn refusing(
    disk: &SimDisk,
    merges: &Refusing,
    pieces: std::ops::Range<u64>,
) -> Storage<Types, Refusing> {
    let mut store = Storage::open(Path::new("db"), merges.clone(), options(disk)).await.unwrap();
    for index in pieces {
        let set = Set { key: "key".to_owned(), value: index.to_string() };
        let entry = Ok((Entry::new_normal(log_id(1, index), set), None));
        store.state.apply(futures_util::stream::iter([entry])).await.unwrap();
        // A table for each.
        drop(store.state.get_snapshot_builder().await.build_snapshot().await.unwrap());
    }
    store
}

/// The application cannot refuse what is committed, and a reader must not be told half of a
/// value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_merge_has_a_fault_and_no_answer() {
    let (disk, merges) = (SimDisk::default(), Refusing::default());
    let store = refusing(&disk, &merges, 1..3).await;
    assert_eq!(store.reader.query(()).await.unwrap().as_deref(), Some(&b"12"[..]));
    merges.0.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(store.reader.query(()).await.is_err());
    let reason = store.health.fault().unwrap().reason;
    assert!(reason.contains("panicked while merging into key key: no merge any more"), "{reason}");
    drop(store);

    // The same in the background, where no reader asks.
    merges.0.store(false, std::sync::atomic::Ordering::Relaxed);
    let mut store = refusing(&disk, &merges, 3..4).await;
    merges.0.store(true, std::sync::atomic::Ordering::Relaxed);
    for index in 4..9 {
        let set = Set { key: "key".to_owned(), value: index.to_string() };
        let entry = Ok((Entry::new_normal(log_id(1, index), set), None));
        if store.state.apply(futures_util::stream::iter([entry])).await.is_err() {
            break;
        }
        if store.state.get_snapshot_builder().await.build_snapshot().await.is_err() {
            break;
        }
    }
    eventually("the compaction fails", || store.health.fault().is_some()).await;
    let reason = store.health.fault().unwrap().reason;
    assert!(reason.contains("panicked while merging into key key"), "{reason}");
}
