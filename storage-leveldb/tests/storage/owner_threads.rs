//! The threads that own the databases, when the engine misbehaves.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Set, Store, Types, eventually, log_id, open};
use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use openraft::{RaftSnapshotBuilder, RaftTypeConfig, Vote};
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::engine::{Batch, Durability, Engine, EngineFactory, MemoryEngine};
use storage_leveldb::{Fault, Options, StorageError};
use tokio::time::timeout;

type Entry = <Types as RaftTypeConfig>::Entry;

/// Nothing takes so long but what hangs.
const HANGS: Duration = Duration::from_secs(60);

/// What an engine may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    WritePanics,
    WriteFails,
    ReadPanics,
    ReadFails,
}

/// An engine that does something wrong as soon as it is told to. It knows of no latch.
#[derive(Clone, Default)]
struct Faithless {
    inner: MemoryEngine,
    flaw: Arc<Mutex<Option<Flaw>>>,
}

impl Faithless {
    fn begin(&self, flaw: Flaw) {
        *self.flaw.lock().unwrap() = Some(flaw);
    }

    fn options(&self) -> Options {
        let mut options = Options::default().with_engine(Arc::new(self.clone()));
        options.memtable_bytes = 2000;
        options
    }

    fn is(&self, flaw: Flaw) -> bool {
        *self.flaw.lock().unwrap() == Some(flaw)
    }

    fn fault(&self, panics: Flaw, fails: Flaw) -> Result<(), StorageError> {
        assert!(!self.is(panics), "a bug of the engine");
        let fault = Fault::corrupt("a file of the engine", "a bug of the engine");
        if self.is(fails) { Err(fault.into()) } else { Ok(()) }
    }
}

struct Open(Box<dyn Engine>, Faithless);

impl EngineFactory for Faithless {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError> {
        Ok(Box::new(Open(self.inner.open(dir)?, self.clone())))
    }

    fn exists(&self, dir: &Path) -> Result<bool, StorageError> {
        self.inner.exists(dir)
    }
}

impl Engine for Open {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.1.fault(Flaw::ReadPanics, Flaw::ReadFails)?;
        self.0.get(key)
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.1.fault(Flaw::WritePanics, Flaw::WriteFails)?;
        self.0.write(batch, durability)
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.1.fault(Flaw::ReadPanics, Flaw::ReadFails)?;
        self.0.scan(range, limit)
    }
}

/// The fault, which may be latched a moment after those who waited were let go.
async fn fault(store: &Store) -> Fault {
    eventually("a fault", || store.health.fault().is_some()).await;
    store.health.fault().unwrap()
}

/// Found by reading: a panic of an engine ended its thread, and the storage called itself healthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_panics_is_a_fault() {
    let (dir, engine) = (tempfile::tempdir().unwrap(), Faithless::default());
    let mut store = open(dir.path(), engine.options()).await.unwrap();
    store.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    engine.begin(Flaw::WritePanics);
    assert!(store.log.save_vote(&Vote::new(2, 1)).await.is_err());
    let fault = fault(&store).await;
    assert!(fault.reason.contains("a bug of the engine") && fault.path.ends_with("log/segment-1"), "{fault}");
    assert!(store.reader.query(()).await.is_err());
}

async fn apply(store: &mut Store, index: u64) -> Result<(), std::io::Error> {
    let set = Set { key: format!("key-{index}"), value: "v".repeat(300) };
    let entry = Entry::new_normal(log_id(1, index), set);
    store.state.apply(futures_util::stream::iter([Ok((entry, None))])).await
}

/// Found by reading: the flush thread took it for granted that the part that failed had latched a
/// fault, which an engine cannot. It ended; applying, and with it the node, waited for ever, and
/// called itself healthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_fails_in_a_flush_is_a_fault() {
    for flaw in [Flaw::WritePanics, Flaw::WriteFails] {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Faithless::default());
        let mut store = open(dir.path(), engine.options()).await.unwrap();
        engine.begin(flaw);
        let applied = async {
            for index in 1..1000 {
                apply(&mut store, index).await?;
            }
            Ok(())
        };
        let applied: Result<(), std::io::Error> = timeout(HANGS, applied).await.expect("applying ends");
        assert!(applied.is_err(), "{flaw:?}: applied, and nothing is durable");
        let fault = fault(&store).await;
        assert!(fault.reason.contains("a bug of the engine"), "{flaw:?}: {fault}");
        let builder = async { store.state.get_snapshot_builder().await.build_snapshot().await.map(drop) };
        assert!(timeout(HANGS, builder).await.expect("the snapshot ends").is_err(), "{flaw:?}");
        let closed = tokio::task::spawn_blocking(move || drop(store));
        timeout(HANGS, closed).await.expect("the close ends").unwrap();
    }
}

/// Found by reading: a table whose engine had panicked was closed, said every query, and the
/// storage called itself healthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_fails_under_a_query_is_a_fault() {
    for flaw in [Flaw::ReadPanics, Flaw::ReadFails] {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Faithless::default());
        let mut store = open(dir.path(), engine.options()).await.unwrap();
        apply(&mut store, 1).await.unwrap();
        let sent = store.state.get_snapshot_builder().await.build_snapshot().await.unwrap();
        engine.begin(flaw);
        assert!(store.reader.query(()).await.is_err(), "{flaw:?}");
        let fault = fault(&store).await;
        assert!(fault.reason.contains("engine"), "{flaw:?}: {fault}");
        assert!(apply(&mut store, 2).await.is_err(), "{flaw:?}");
        drop(sent);
    }
}
