//! A frozen directory, as a node left it: this version still reads it, to the last value.
//!
//! Written by `WRITE_FIXTURE=1 cargo test --release -p storage-leveldb --test storage -- --ignored
//! --exact fixtures::write_fixture`. Once a version has been released its fixture is never written
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::{APPEND, Set, Store, Types, changed, eventually, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{
    BasicNode, EntryPayload, Membership, RaftLogReader, RaftSnapshotBuilder, RaftTypeConfig, Vote,
};
use storage_leveldb::Options;
use storage_leveldb::testing::SimDisk;
use storage_leveldb::testing::engine::LevelDbOptions;

type Entry = <Types as RaftTypeConfig>::Entry;

const LAST: u64 = 60;
const COMMITTED: u64 = 58;
const APPLIED: u64 = 55;
const SNAPSHOT: u64 = 40;
const PURGED: u64 = 20;
/// Commands change the keys `key-0` to `key-6` in turn.
const KEYS: u64 = 7;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

fn vote() -> Vote<<Types as RaftTypeConfig>::LeaderId> {
    Vote::new_committed(3, 1)
}

/// The third term began at entry 30.
fn id(index: u64) -> openraft::type_config::alias::LogIdOf<Types> {
    log_id(if index < 30 { 1 } else { 3 }, index)
}

fn membership(index: u64) -> Membership<u64, BasicNode> {
    let node = |id: u64| (id, BasicNode::new(format!("node-{id}:7100")));
    let (configs, nodes) = match index {
        0 => (vec![BTreeSet::from([1])], BTreeMap::from([node(1)])),
        // A joint one, and a learner.
        _ => (
            vec![BTreeSet::from([1]), BTreeSet::from([1, 2, 3])],
            BTreeMap::from([node(1), node(2), node(3), node(4)]),
        ),
    };
    Membership::new(configs, nodes).unwrap()
}

fn value(index: u64) -> String {
    match index {
        25 => String::new(),
        26 => "ü".repeat(2000),
        _ => format!("value-{index}-").repeat(5),
    }
}

/// The pairs after entry `last`.
fn pairs(last: u64) -> Vec<(String, String)> {
    let mut pairs = BTreeMap::<String, String>::new();
    for index in 0..=last {
        let EntryPayload::Normal(set) = entry(index).payload else { continue };
        match set.value.strip_prefix(APPEND) {
            Some(appended) => pairs.entry(set.key).or_default().push_str(appended),
            None => drop(pairs.insert(set.key, set.value)),
        }
    }
    pairs.into_iter().collect()
}

/// All three payloads; some commands append to what is there.
fn entry(index: u64) -> Entry {
    let payload = match index {
        0 | 35 | 50 => EntryPayload::Membership(membership(index)),
        1 | 30 => EntryPayload::Blank,
        _ => {
            let mut value = value(index);
            if index.is_multiple_of(3) {
                value.insert(0, APPEND);
            }
            EntryPayload::Normal(Set { key: format!("key-{}", index % KEYS), value })
        }
    };
    Entry::new(id(index), payload)
}

/// Appends several entries at a time: some that follow are truncated, so that what counts of a
/// block ends within it.
async fn append_again(store: &mut Store, index: u64) {
    let of_another_leader = |index| Entry::new(log_id(2, index), EntryPayload::Blank);
    match index {
        41 => {
            let others = [entry(41), entry(42), of_another_leader(43), of_another_leader(44)];
            store.log.blocking_append(others).await.unwrap();
            store.log.truncate_after(Some(id(42))).await.unwrap();
        }
        43 => store.log.blocking_append((43..=50).map(entry)).await.unwrap(),
        42 | 44..=50 => {}
        _ => store.log.blocking_append([entry(index)]).await.unwrap(),
    }
}

async fn apply(store: &mut Store, index: u64) {
    store.state.apply(futures_util::stream::iter([Ok((entry(index), None))])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the fixture, where WRITE_FIXTURE is set"]
async fn write_fixture() {
    // Not because all ignored tests are run.
    if std::env::var_os("WRITE_FIXTURE").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = LevelDbOptions {
        write_buffer_bytes: 1024,
        table_bytes: 1024,
        table_file_bytes: 200,
        ..LevelDbOptions::default()
    };
    let options = changed(Options::default().with_log_leveldb(small).with_table_file_bytes(200), |options| {
        options.log_segment_bytes = 3000
    });
    let mut store = open(dir.path(), options.clone()).await.unwrap();
    store.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    for index in 0..=LAST {
        append_again(&mut store, index).await;
        if index <= APPLIED {
            apply(&mut store, index).await;
        }
        if index == SNAPSHOT {
            let mut builder = store.state.try_create_snapshot_builder(true).await.unwrap();
            builder.build_snapshot().await.unwrap();
            store.log.purge(id(PURGED)).await.unwrap();
        }
    }
    store.log.save_vote(&vote()).await.unwrap();
    store.log.save_committed(Some(id(COMMITTED))).await.unwrap();
    // One is written, one lies ready, and one before them is no table yet.
    eventually("three databases, the others runs", || names(&dir.path().join("log"), "segment-") == 3).await;
    drop(store);
    let to = fixture();
    let _ = fs::remove_dir_all(&to);
    copy(dir.path(), &to);
    fs::remove_file(to.join("LOCK")).unwrap();
    check_fixture().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let (from, to) = (found.path(), to.join(found.file_name()));
        if found.file_type().unwrap().is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// All that the fixture holds.
async fn check_answers(mut store: Store) {
    let log = store.log.get_log_state().await.unwrap();
    assert_eq!((log.last_purged_log_id, log.last_log_id), (Some(id(PURGED)), Some(id(LAST))));
    assert_eq!(store.log.read_committed().await.unwrap(), Some(id(COMMITTED)));
    let mut reader = store.log.get_log_reader().await;
    assert_eq!(reader.read_vote().await.unwrap(), Some(vote()));
    let entries = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries, (PURGED + 1..=LAST).map(entry).collect::<Vec<_>>());

    let (applied, last_membership) = store.state.applied_state().await.unwrap();
    assert_eq!(applied, Some(id(APPLIED)));
    assert_eq!((*last_membership.log_id(), last_membership.membership()), (Some(id(50)), &membership(50)));
    assert_eq!(store.reader.query(()).await.unwrap(), pairs(APPLIED));

    // The snapshot is what is durable of the state. Closing made all of it so.
    let snapshot = store.state.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(snapshot.meta.last_log_id, Some(id(APPLIED)));
    assert_eq!(snapshot.meta.last_membership.log_id(), &Some(id(50)));
    let options = Options::default().with_disk(Arc::new(SimDisk::default()));
    let mut other = open(Path::new("other"), options).await.unwrap();
    other.state.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    assert_eq!(other.reader.query(()).await.unwrap(), pairs(APPLIED));
}

/// How many names in a directory begin so.
fn names(dir: &Path, prefix: &str) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|found| found.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
}

/// Tables in the directories whose names begin so.
fn tables(dir: &Path, part: &str) -> usize {
    let entries =
        |dir: &Path| fs::read_dir(dir).unwrap().map(|found| found.unwrap().path()).collect::<Vec<_>>();
    let (parent, name) = part.rsplit_once('/').unwrap_or(("", part));
    let of_part = entries(&dir.join(parent)).into_iter();
    let of_part = of_part.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(name));
    let files = of_part.flat_map(|dir| entries(&dir));
    files.filter(|path| path.extension().is_some_and(|end| end == "ldb")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fixture_is_read() {
    check_fixture().await;
}

/// This version finds all that is in the fixture, and goes on with it.
async fn check_fixture() {
    let fixture = fixture();
    assert!(
        tables(&fixture, "log/table-") > 2 && tables(&fixture, "state/table-") > 2,
        "the fixture has tables"
    );
    assert!(names(&fixture.join("log"), "table-") > 1 && names(&fixture.join("log"), "segment-") == 3);
    // Opening writes, so nothing opens the fixture itself.
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture, dir.path());
    let store =
        open(dir.path(), changed(Options::default(), |options| options.accept_copy = true)).await.unwrap();
    check_answers(store).await;
    // What it writes is read together with the old.
    let mut store = open(dir.path(), Options::default()).await.unwrap();
    store.log.blocking_append([entry(LAST + 1)]).await.unwrap();
    for index in APPLIED + 1..=LAST + 1 {
        apply(&mut store, index).await;
    }
    drop(store);
    let mut store = open(dir.path(), Options::default()).await.unwrap();
    assert_eq!(store.reader.query(()).await.unwrap(), pairs(LAST + 1));
    let entries = store.log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries, (PURGED + 1..=LAST + 1).map(entry).collect::<Vec<_>>());
}
