//! Snapshots that come, go and are sent at the same time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::gated_disk::GatedDisk;
use crate::support::state_files::{manifest, tables_there};
use crate::support::{Set, Store, Types, eventually, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf};
use openraft::{RaftSnapshotBuilder, RaftTypeConfig};
use storage_leveldb::testing::SimDisk;
use storage_leveldb::{Options, SnapshotFile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

type Entry = <Types as RaftTypeConfig>::Entry;

/// Nothing takes so long but what hangs.
const HANGS: Duration = Duration::from_secs(60);
/// More than one frame, so that a file is not read whole at once.
const VALUE_BYTES: usize = 200_000;

async fn node() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options::default()).await.unwrap();
    (dir, store)
}

fn entry(index: u64) -> Entry {
    let set = Set { key: format!("k{index}"), value: "v".repeat(VALUE_BYTES) };
    Entry::new_normal(log_id(1, index), set)
}

async fn apply(store: &mut Store, index: u64) {
    store.state.apply(futures_util::stream::iter([Ok((entry(index), None))])).await.unwrap();
}

async fn build(store: &mut Store) -> SnapshotMetaOf<Types> {
    store.state.get_snapshot_builder().await.build_snapshot().await.unwrap().meta
}

/// The bytes of a snapshot after `index` as another node sends it.
async fn sent_by_another(index: u64) -> (SnapshotMetaOf<Types>, Vec<u8>) {
    let (_dir, mut leader) = node().await;
    apply(&mut leader, index).await;
    build(&mut leader).await;
    let snapshot = leader.state.get_current_snapshot().await.unwrap().unwrap();
    (snapshot.meta, read_all(snapshot.snapshot).await)
}

async fn install(store: &mut Store, meta: &SnapshotMetaOf<Types>, bytes: &[u8]) {
    let mut received = store.inbox.create().await.unwrap();
    received.write_all(bytes).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(meta, received).await.unwrap();
}

async fn read_all(mut file: SnapshotFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Found by reading, when snapshots were files: it was opened at its first read, which follows the
/// connection to the peer. If a newer snapshot had removed it by then, a healthy leader latched
/// "missing" and stopped for good. Now it is the tables of the state that must stay, from the
/// beginning on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_can_be_sent_although_a_newer_one_has_replaced_it() {
    let (_dir, mut store) = node().await;
    apply(&mut store, 1).await;
    build(&mut store).await;
    let sending = store.state.get_current_snapshot().await.unwrap().unwrap();
    apply(&mut store, 2).await;
    build(&mut store).await;
    // From now on nothing of what is sent counts for this node.
    let (meta, bytes) = sent_by_another(5).await;
    install(&mut store, &meta, &bytes).await;
    assert!(store.sizes.snapshot_bytes() > 0, "what is sent is gone");
    let bytes = read_all(sending.snapshot).await;
    assert_eq!(store.health.fault(), None);
    eventually("what was sent goes", || store.sizes.snapshot_bytes() == 0).await;

    let (_dir, mut follower) = node().await;
    install(&mut follower, &sending.meta, &bytes).await;
    assert_eq!(follower.reader.query(()).await.unwrap().len(), 1);
}

/// Found by reading: a follower has entries of term 5 that were never committed, and gets a
/// snapshot of entries of an older term, committed by a later leader. openraft has the log purged
/// up to there, and appends behind it. The log took the greater log id for its last one, so that
/// this did not follow, and the node stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_goes_on_behind_a_snapshot_of_an_older_term_than_what_it_replaces() {
    let of_term = |term, index| {
        let set = Set { key: format!("k{index}"), value: String::new() };
        Entry::new_normal(log_id(term, index), set)
    };
    let (meta, bytes) = sent_by_another(12).await;
    let (dir, mut store) = node().await;
    store.log.blocking_append((1..=8).map(|index| of_term(5, index))).await.unwrap();
    install(&mut store, &meta, &bytes).await;
    store.log.purge(log_id(1, 12)).await.unwrap();
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 12)));
    store.log.blocking_append([of_term(6, 13)]).await.unwrap();
    drop(store);
    let mut store = open(dir.path(), Options::default()).await.unwrap();
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 12)), Some(log_id(6, 13))));
}

/// Found by reading: a peer that announces other metadata than those of the snapshot that it sends
/// was found out by the installation only, which openraft takes for a failure of this node's disk,
/// and stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_snapshot_than_the_announced_one_is_refused_before_it_is_installed() {
    let (meta, bytes) = sent_by_another(5).await;
    let (other, _) = sent_by_another(6).await;
    let (_dir, mut store) = node().await;
    let mut received = store.inbox.create_for(&other).await.unwrap();
    received.write_all(&bytes).await.unwrap();
    let refused = received.shutdown().await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData, "{refused}");
    drop(received);
    assert_eq!(store.health.fault(), None);
    let mut received = store.inbox.create_for(&meta).await.unwrap();
    received.write_all(&bytes).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(store.reader.query(()).await.unwrap().len(), 1);
}

/// Found by reading, when snapshots were files: one that was completed removed every temporary
/// file, the one that was being received among them; installing it then stopped the node. Now the
/// table that is being received must stay when the compaction thread removes those that do not
/// count any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_built_while_another_is_received() {
    let (meta, bytes) = sent_by_another(5).await;
    let (dir, mut store) = node().await;
    let mut received = store.inbox.create().await.unwrap();
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    received.write_all(first).await.unwrap();
    let tables = || names(dir.path()).iter().filter(|name| name.starts_with("table-")).count();
    for index in 1..=4 {
        apply(&mut store, index).await;
        build(&mut store).await;
    }
    // One of the four, and the one that is being received.
    eventually("they are merged", || tables() == 2).await;
    received.write_all(rest).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(store.health.fault(), None);
    assert_eq!(store.state.applied_state().await.unwrap().0, Some(log_id(1, 5)));
}

/// What a builder was promised cannot get durable any more, because the table is given up. It
/// answers the newer state, which is what openraft can use; without that it would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_overtaken_while_it_is_built_is_dropped() {
    let (meta, bytes) = sent_by_another(5).await;
    let (disk, dir) = (GatedDisk::default(), Path::new("node"));
    let options = || Options::default().with_disk(Arc::new(disk.clone()));
    let mut store = open(dir, options()).await.unwrap();
    apply(&mut store, 1).await;
    disk.hold("state-flush");
    let mut builder = store.state.get_snapshot_builder().await;
    disk.wait_until_held("state-flush");
    install(&mut store, &meta, &bytes).await;
    assert_eq!(builder.build_snapshot().await.unwrap().meta, meta);
    disk.release();
    // The table that came too late goes; the snapshot is what is there, and stays.
    eventually("it is given up", || tables_there(&disk, dir) == manifest(&disk.disk, dir).numbers()).await;
    assert_eq!(store.health.fault(), None);
    assert_eq!(store.state.get_current_snapshot().await.unwrap().unwrap().meta, meta);
    drop((store, builder));
    let mut store = open(dir, options()).await.unwrap();
    assert_eq!(store.state.get_current_snapshot().await.unwrap().unwrap().meta, meta);
    assert_eq!(store.reader.query(()).await.unwrap().len(), 1);
}

/// Lets a disk go on that is held by its watcher, however the test ends.
struct GoesOn(Arc<AtomicBool>);

impl Drop for GoesOn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Found by reading: it was answered on a thread of the runtime, which waited while a compaction
/// synced MANIFEST: with as many askers as there are threads the node stood still for as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_current_snapshot_is_told_while_a_compaction_replaces_the_manifest() {
    let (disk, dir) = (SimDisk::default(), Path::new("node"));
    let mut store = open(dir, Options::default().with_disk(Arc::new(disk.clone()))).await.unwrap();
    let (holds, is_held) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (its_holds, its_is_held) = (holds.clone(), is_held.clone());
    disk.watch(move |moment| {
        let is_compaction = std::thread::current().name() == Some("state-compaction");
        if is_compaction && moment.path.ends_with("state/MANIFEST") {
            its_is_held.store(true, Ordering::SeqCst);
            while its_holds.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        }
    });
    let goes_on = GoesOn(holds);
    let mut meta = None;
    for index in 1..=4 {
        apply(&mut store, index).await;
        meta = Some(build(&mut store).await);
    }
    eventually("a compaction is held", || is_held.load(Ordering::SeqCst)).await;
    let asked = tokio::spawn(async move {
        let told = store.state.get_current_snapshot().await.unwrap().unwrap();
        (store, told.meta)
    });
    let (store, told) = timeout(HANGS, asked).await.expect("it is told").unwrap();
    assert_eq!(Some(told), meta);
    drop(goes_on);
    eventually("they are one", || manifest(&disk, dir).numbers().len() == 1).await;
    drop(store);
}

/// Found by reading: dropping a snapshot that was being received waited for the thread that made a
/// table of it, on a thread of the runtime, for as long as the disk took. The close must still wait
/// for it: else it would write to a storage that is closed, and another could not be opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_broken_off_is_waited_for_by_the_close_and_not_before() {
    let (meta, bytes) = sent_by_another(5).await;
    let (disk, dir) = (GatedDisk::default(), Path::new("node"));
    let options = || Options::default().with_disk(Arc::new(disk.clone()));
    let store = open(dir, options()).await.unwrap();
    disk.hold("snapshot");
    let mut received = store.inbox.create_for(&meta).await.unwrap();
    received.write_all(&bytes).await.unwrap();
    let shutting = tokio::spawn(async move { received.shutdown().await });
    disk.wait_until_held("snapshot");
    shutting.abort();
    let dropped = timeout(HANGS, shutting).await;
    let closed = tokio::task::spawn_blocking(move || drop(store));
    // Time for a close that does not wait; nothing else waits for it to have passed.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let has_closed_early = closed.is_finished();
    disk.release();
    assert!(dropped.expect("the drop waits for the disk").unwrap_err().is_cancelled());
    assert!(!has_closed_early, "closed, and the table is still written");
    timeout(HANGS, closed).await.expect("the close ends").unwrap();
    assert_eq!(tables_there(&disk, dir), manifest(&disk.disk, dir).numbers());
    open(dir, options()).await.unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let found = std::fs::read_dir(dir.join("state")).unwrap();
    let mut names: Vec<_> =
        found.map(|found| found.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The state that is now, or what is wrong with it.
async fn applied(dir: &Path) -> Result<Option<LogIdOf<Types>>, String> {
    let mut store = open(dir, Options::default()).await.map_err(|e| e.to_string())?;
    let applied = store.state.applied_state().await.unwrap().0;
    let pairs = store.reader.query(()).await.unwrap();
    assert_eq!(pairs.len() as u64, applied.map_or(0, |applied| applied.index));
    let kept = store.state.get_current_snapshot().await.unwrap();
    assert_eq!(kept.as_ref().and_then(|kept| kept.meta.last_log_id), applied);
    Ok(applied)
}

/// Puts an older MANIFEST into the place of the one there is.
fn put_back_root(dir: &Path, older: &[u8]) -> Vec<u8> {
    let manifest = dir.join("state/MANIFEST");
    let current = std::fs::read(&manifest).unwrap();
    assert_ne!(current, older);
    std::fs::write(manifest, older).unwrap();
    current
}

/// With the older MANIFEST the storage is refused and nothing is removed: put back, the newer one
/// is good.
async fn refused_and_unharmed(dir: &Path, older: &[u8], reason: &str) {
    let before = names(dir);
    let current = put_back_root(dir, older);
    let error = applied(dir).await.unwrap_err();
    assert!(error.contains(reason), "{error}");
    assert_eq!(names(dir), before);
    put_back_root(dir, &current);
}

/// Found by reading: what ACTIVE (now MANIFEST) does not name was removed before it was known that
/// what it does name is there. An older version of it made the start delete the whole state, and
/// only then refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_manifest_destroys_nothing() {
    let (dir, mut store) = node().await;
    let mut older = Vec::new();
    // Fewer than are compacted.
    for index in 1..=3 {
        store.log.blocking_append([entry(index)]).await.unwrap();
        apply(&mut store, index).await;
        if index < 3 {
            build(&mut store).await;
            older.push(std::fs::read(dir.path().join("state/MANIFEST")).unwrap());
        }
    }
    drop(store);
    // The log has what an older state lacks, and openraft applies it again.
    let newest = put_back_root(dir.path(), &older[1]);
    assert_eq!(applied(dir.path()).await, Ok(Some(log_id(1, 2))));
    // That start has removed the tables of the newer one, which is now the one that is wrong.
    refused_and_unharmed(dir.path(), &newest, "missing, although MANIFEST names it").await;

    // The log has not got any more what this one lacks.
    let mut store = open(dir.path(), Options::default()).await.unwrap();
    store.log.purge(log_id(1, 2)).await.unwrap();
    drop(store);
    refused_and_unharmed(dir.path(), &older[0], "the state is older than the log").await;
    assert_eq!(applied(dir.path()).await, Ok(Some(log_id(1, 2))));
}

/// The same with a snapshot from a leader, which replaces every table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_from_before_a_snapshot_destroys_nothing() {
    let (dir, mut store) = node().await;
    apply(&mut store, 1).await;
    build(&mut store).await;
    let older = std::fs::read(dir.path().join("state/MANIFEST")).unwrap();
    let (_leader_dir, mut leader) = node().await;
    for index in 1..=5 {
        apply(&mut leader, index).await;
    }
    let meta = build(&mut leader).await;
    let bytes = read_all(leader.state.get_current_snapshot().await.unwrap().unwrap().snapshot).await;
    install(&mut store, &meta, &bytes).await;
    drop(store);
    assert_eq!(applied(dir.path()).await, Ok(Some(log_id(1, 5))));
    refused_and_unharmed(dir.path(), &older, "missing, although MANIFEST names it").await;
    assert_eq!(applied(dir.path()).await, Ok(Some(log_id(1, 5))));
}
