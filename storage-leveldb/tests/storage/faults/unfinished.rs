//! A snapshot of which all bytes have come, but not the word that these are all.

use std::path::Path;
use std::sync::Arc;

use crate::support::{Set, Types, log_id, open};
use openraft::RaftSnapshotBuilder;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use storage_leveldb::Options;
use storage_leveldb::testing::{SimDisk, Survival};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Entry = <Types as openraft::RaftTypeConfig>::Entry;

fn options(disk: &SimDisk) -> Options {
    Options::default().with_disk(Arc::new(disk.clone()))
}

/// Without `shutdown` nothing of it is durable: reported as installed, it would be gone after a
/// power failure, and with it what the log purges because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_not_ended_is_refused() {
    let dir = Path::new("node");
    let mut sender = open(dir, options(&SimDisk::default())).await.unwrap();
    let set = Set { key: "k".into(), value: "v".repeat(5000) };
    let entry: Entry = Entry::new_normal(log_id(1, 1), set);
    sender.state.apply(futures_util::stream::iter([Ok((entry, None))])).await.unwrap();
    let mut sent = sender.state.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let mut bytes = Vec::new();
    sent.snapshot.read_to_end(&mut bytes).await.unwrap();

    let disk = SimDisk::default();
    let mut receiver = open(dir, options(&disk)).await.unwrap();
    let mut incoming = receiver.inbox.create().await.unwrap();
    incoming.write_all(&bytes).await.unwrap();
    incoming.flush().await.unwrap();
    let refused = receiver.state.install_snapshot(&sent.meta, incoming).await;
    assert!(refused.is_err(), "installed, and not durable");
    assert_eq!(receiver.health.fault(), None, "a peer's half snapshot is no fault of this disk");
    for survival in [Survival::Nothing, Survival::Everything] {
        let left = disk.reboot(survival);
        let mut store = open(dir, options(&left)).await.unwrap();
        assert_eq!(store.state.applied_state().await.unwrap().0, None);
        assert!(store.state.get_current_snapshot().await.unwrap().is_none());
    }
}
