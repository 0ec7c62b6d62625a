//! The state in memtables and tables, while threads flush and compact it. Attacked is what an
//! application relies on whatever they do: every read is right and of one moment, nothing waits
//! without end, and the disk gets back what does not count any more.

mod full_memtables;
mod histories;
mod installing;
mod moments;
mod nested_compactions;
mod sending;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::support::state_files::{manifest, tables_there};
use crate::support::{Set, Types, changed, eventually, log_id};
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::SnapshotMetaOf;
use openraft::{RaftSnapshotBuilder, RaftTypeConfig};
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::SimDisk;
use storage_leveldb::testing::disk::Disk;
use storage_leveldb::{Application, Options, SnapshotFile, Storage, StorageError, Transaction, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Entry = <Types as RaftTypeConfig>::Entry;
type Pairs = BTreeMap<String, String>;
type Store = Storage<Types, Register>;

const DIR: &str = "node";

/// Sets a key, or deletes it if the value is empty. A query answers the log index and all pairs,
/// read in pages of so many pairs, after having asked for each of them again.
struct Register;

impl Application<Types> for Register {
    type Query = usize;
    type Answer = (u64, Pairs);

    fn apply(&self, txn: &mut Transaction<'_>, _: u64, set: &Set) -> Result<Option<String>, StorageError> {
        let before = txn.get(set.key.as_bytes())?;
        if set.value.is_empty() {
            txn.delete(set.key.as_bytes());
        } else {
            txn.put(set.key.as_bytes(), set.value.as_bytes());
        }
        Ok(before.map(|value| text(&value)))
    }

    fn query(&self, view: &mut View<'_>, page_pairs: usize) -> Result<Self::Answer, StorageError> {
        let (mut range, mut pairs) = (KeyRange::all(), Pairs::new());
        let limit = ScanLimit { pairs: page_pairs, bytes: usize::MAX };
        loop {
            let page = limit.first_of(view.scan(range))?;
            let Some((last, _)) = page.last() else { break };
            range = KeyRange { start: [last, &b"\0"[..]].concat().into(), end: None };
            for (key, value) in page {
                assert_eq!(view.get(&key)?, Some(value.clone()), "scanned and then not found");
                pairs.insert(text(&key), text(&value));
            }
        }
        Ok((view.applied_index(), pairs))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn set(key: impl Into<String>, value: impl Into<String>) -> Set {
    Set { key: key.into(), value: value.into() }
}

/// What the pairs should be.
fn change(pairs: &mut Pairs, set: &Set) {
    if set.value.is_empty() {
        pairs.remove(&set.key);
    } else {
        pairs.insert(set.key.clone(), set.value.clone());
    }
}

/// Small enough that a few hundred bytes are flushed, in several tables.
fn options(disk: impl Disk, memtable_bytes: usize) -> Options {
    let options = Options::default().with_disk(Arc::new(disk)).with_table_file_bytes(4096);
    changed(options, |options| options.memtable_bytes = memtable_bytes)
}

async fn open(options: Options) -> Store {
    Storage::open(Path::new(DIR), Register, options).await.unwrap()
}

/// Applies entries from `first` on, in one batch.
async fn apply(state: &mut impl RaftStateMachine<Types>, first: u64, sets: impl IntoIterator<Item = Set>) {
    let entry = |(at, set)| Ok((Entry::new_normal(log_id(1, at), set), None));
    let entries: Vec<_> = (first..).zip(sets).map(entry).collect();
    state.apply(futures_util::stream::iter(entries)).await.unwrap();
}

/// Makes durable what is applied.
async fn flush(store: &mut Store) -> SnapshotMetaOf<Types> {
    store.state.get_snapshot_builder().await.build_snapshot().await.unwrap().meta
}

async fn all_of(mut file: SnapshotFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn install(store: &mut Store, meta: &SnapshotMetaOf<Types>, bytes: &[u8]) {
    let mut received = store.inbox.create().await.unwrap();
    received.write_all(bytes).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(meta, received).await.unwrap();
}

/// Waits until no table is on disk but those that count.
async fn tidied_up(disk: &SimDisk) {
    let counting = || manifest(disk, Path::new(DIR)).numbers();
    eventually("only what counts is left", || tables_there(disk, Path::new(DIR)) == counting()).await;
}

/// Seeds to try; `TABLES_SEED=17` tries that one alone.
fn seeds(all: std::ops::Range<u64>) -> std::ops::Range<u64> {
    match std::env::var("TABLES_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => all,
    }
}
