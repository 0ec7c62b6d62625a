//! Files that are gone, where another check than the one in question would not see it.

use std::path::{Path, PathBuf};

use crate::support::{Set, Types, changed, log_id, open};
use openraft::Vote;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use storage_leveldb::Options;
use storage_leveldb::testing::engine::LevelDbOptions;

type Entry = <Types as openraft::RaftTypeConfig>::Entry;

fn options() -> Options {
    let small =
        LevelDbOptions { write_buffer_bytes: 2048, log_step_bytes: 1 << 20, ..LevelDbOptions::default() };
    changed(Options::default().with_log_leveldb(small), |options| options.tail_bytes = 0)
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(dir.join("log/segment-1")).unwrap();
    let mut tables: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
    tables.retain(|path| path.extension().is_some_and(|extension| extension == "ldb"));
    tables
}

/// If FORMAT is lost, a database may be new; one that has lost its manifest with it must not be
/// started empty: a vote was in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_manifest_is_not_started_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), Options::default()).await.unwrap();
    store.log.save_vote(&Vote::new(3, 1)).await.unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("FORMAT")).unwrap();
    let manifest = dir.path().join("log/MANIFEST");
    let content = std::fs::read(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    let error = open(dir.path(), Options::default()).await.err().unwrap().to_string();
    assert!(error.contains("log/MANIFEST: missing, although"), "{error}");
    std::fs::write(&manifest, content).unwrap();
    std::fs::remove_file(dir.path().join("log/segment-1/CURRENT")).unwrap();
    let error = open(dir.path(), Options::default()).await.err().unwrap().to_string();
    assert!(error.contains("log/segment-1: missing, although MANIFEST names it"), "{error}");
}

/// LevelDB says only that something is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), options()).await.unwrap();
    for index in 1..=100 {
        let set = Set { key: format!("k{index}"), value: "v".repeat(200) };
        let entry: Entry = Entry::new_normal(log_id(1, index), set);
        store.log.blocking_append([entry]).await.unwrap();
    }
    drop(store);
    // So that LevelDB's own log has nothing that a table has, too.
    drop(open(dir.path(), options()).await.unwrap());
    let tables = tables(dir.path());
    assert!(tables.len() > 1, "{tables:?}");
    for table in tables {
        let bytes = std::fs::read(&table).unwrap();
        std::fs::remove_file(&table).unwrap();
        let error = open(dir.path(), options()).await.err().unwrap().to_string();
        assert!(error.contains(&format!("{}: missing", table.display())), "{error}");
        std::fs::write(&table, bytes).unwrap();
    }
    drop(open(dir.path(), options()).await.unwrap());
}

/// Found by the cluster's damage test: a WITNESS that had lost its last record told of a MANIFEST
/// that had gone since, and only the MANIFEST was named, in which there is nothing to be mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_only_an_old_witness_knows_is_named_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), options()).await.unwrap();
    store.log.save_vote(&Vote::new(3, 1)).await.unwrap();
    drop(store);
    let witness = dir.path().join("log/segment-1/WITNESS");
    let older = std::fs::read(&witness).unwrap();
    // Begins another MANIFEST and another of LevelDB's logs.
    drop(open(dir.path(), options()).await.unwrap());
    std::fs::write(&witness, older).unwrap();
    // That it is not the file that it says to be is told first, where the file system tells it.
    let mut options = options();
    options.accept_copy = true;
    let error = open(dir.path(), options).await.err().unwrap().to_string();
    assert!(error.contains(&format!("missing, although {} tells", witness.display())), "{error}");
}
