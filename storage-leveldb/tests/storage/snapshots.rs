//! Snapshots that come, go and are sent at the same time.

use std::path::{Path, PathBuf};

use crate::support::{Set, Store, Types, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::SnapshotMetaOf;
use openraft::{RaftSnapshotBuilder, RaftTypeConfig};
use storage_leveldb::{Options, SnapshotFile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Entry = <Types as RaftTypeConfig>::Entry;

/// More than one frame, so that a file is not read whole at once.
const VALUE_BYTES: usize = 200_000;

async fn node() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options::default()).await.unwrap();
    (dir, store)
}

async fn apply(store: &mut Store, index: u64) {
    let set = Set { key: format!("k{index}"), value: "v".repeat(VALUE_BYTES) };
    let entry: Entry = Entry::new_normal(log_id(1, index), set);
    store.state.apply(futures_util::stream::iter([Ok((entry, None))])).await.unwrap();
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

async fn read_all(mut file: SnapshotFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// Found by reading: the file was opened at its first read, which follows the connection to the peer. If a newer
/// snapshot had removed it by then, a healthy leader latched "missing" and stopped for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_can_be_sent_although_a_newer_one_has_replaced_it() {
    let (_dir, mut store) = node().await;
    apply(&mut store, 1).await;
    build(&mut store).await;
    let sending = store.state.get_current_snapshot().await.unwrap().unwrap();
    apply(&mut store, 2).await;
    build(&mut store).await;
    let bytes = read_all(sending.snapshot).await;
    assert_eq!(store.health.fault(), None);

    let (_dir, mut follower) = node().await;
    let mut received = follower.inbox.create().await.unwrap();
    received.write_all(&bytes).await.unwrap();
    received.shutdown().await.unwrap();
    follower.state.install_snapshot(&sending.meta, received).await.unwrap();
    assert_eq!(follower.reader.query(()).await.unwrap().len(), 1);
}

/// Found by reading: a snapshot that was completed removed every temporary file, the one that was being received
/// among them; installing it then stopped the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_built_while_another_is_received() {
    let (meta, bytes) = sent_by_another(5).await;
    let (_dir, mut store) = node().await;
    apply(&mut store, 1).await;
    let mut received = store.inbox.create().await.unwrap();
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    received.write_all(first).await.unwrap();
    build(&mut store).await;
    received.write_all(rest).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(store.health.fault(), None);
    assert_eq!(store.state.applied_state().await.unwrap().0, Some(log_id(1, 5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_overtaken_while_it_is_built_is_dropped() {
    let (meta, bytes) = sent_by_another(5).await;
    let (dir, mut store) = node().await;
    apply(&mut store, 1).await;
    let mut builder = store.state.get_snapshot_builder().await;
    let mut received = store.inbox.create().await.unwrap();
    received.write_all(&bytes).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(&meta, received).await.unwrap();
    assert_eq!(builder.build_snapshot().await.unwrap().meta.last_log_id, Some(log_id(1, 1)));
    assert_eq!(store.health.fault(), None);
    assert_eq!(store.state.get_current_snapshot().await.unwrap().unwrap().meta, meta);
    drop((store, builder));
    let mut store = open(dir.path(), Options::default()).await.unwrap();
    assert_eq!(store.state.get_current_snapshot().await.unwrap().unwrap().meta, meta);
}

/// Replaces `file` by its older version, which must be refused, and puts it back, which must be good.
async fn refused_and_unharmed(dir: &Path, file: &Path, older: &[u8]) {
    let current = std::fs::read(file).unwrap();
    assert_ne!(current, older);
    std::fs::write(file, older).unwrap();
    assert!(open(dir, Options::default()).await.is_err(), "{} is from before", file.display());
    std::fs::write(file, current).unwrap();
    let mut store = open(dir, Options::default()).await.unwrap();
    assert_eq!(store.state.applied_state().await.unwrap().0, Some(log_id(1, 5)));
    assert_eq!(store.reader.query(()).await.unwrap().len(), 1);
    let kept = store.state.get_current_snapshot().await.unwrap().unwrap();
    assert!(!read_all(kept.snapshot).await.is_empty());
}

/// Found by reading: what ACTIVE does not name was removed before it was known that what it does name is there. An older
/// version of ACTIVE made the start delete the whole state, or the only snapshot, and only then refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_marker_destroys_nothing() {
    let (meta, bytes) = sent_by_another(5).await;
    let (dir, mut store) = node().await;
    apply(&mut store, 1).await;
    build(&mut store).await;
    let markers: [PathBuf; 2] = ["state/ACTIVE", "snapshot/ACTIVE"].map(|name| dir.path().join(name));
    let older = markers.each_ref().map(|marker| std::fs::read(marker).unwrap());
    let mut received = store.inbox.create().await.unwrap();
    received.write_all(&bytes).await.unwrap();
    received.shutdown().await.unwrap();
    store.state.install_snapshot(&meta, received).await.unwrap();
    drop(store);
    for (marker, older) in markers.iter().zip(&older) {
        refused_and_unharmed(dir.path(), marker, older).await;
    }
}
