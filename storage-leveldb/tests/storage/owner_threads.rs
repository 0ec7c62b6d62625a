//! The threads that own the databases, when the engine misbehaves.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::open;
use bytes::Bytes;
use openraft::Vote;
use openraft::storage::RaftLogStorage;
use storage_leveldb::{
    Batch, Durability, Engine, EngineFactory, KeyRange, MemoryEngine, Options, ScanLimit, StorageError,
};

const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);

/// An engine that panics as soon as it is told to.
#[derive(Clone, Default)]
struct Faithless {
    inner: MemoryEngine,
    panics: Arc<AtomicBool>,
}

struct Open(Box<dyn Engine>, Arc<AtomicBool>);

impl EngineFactory for Faithless {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError> {
        Ok(Box::new(Open(self.inner.open(dir)?, self.panics.clone())))
    }

    fn exists(&self, dir: &Path) -> Result<bool, StorageError> {
        self.inner.exists(dir)
    }
}

impl Engine for Open {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.0.get(key)
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        assert!(!self.1.load(Ordering::Relaxed), "a bug of the engine");
        self.0.write(batch, durability)
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.0.scan(range, limit)
    }
}

/// Found by reading: a panic of an engine ended its thread, and the storage called itself healthy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_panics_is_a_fault() {
    let (dir, engine) = (tempfile::tempdir().unwrap(), Faithless::default());
    let options = Options { engine: Some(Arc::new(engine.clone())), ..Options::default() };
    let mut store = open(dir.path(), options).await.unwrap();
    store.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    engine.panics.store(true, Ordering::Relaxed);
    assert!(store.log.save_vote(&Vote::new(2, 1)).await.is_err());
    // Whoever waits is let go before the panic has been caught.
    let deadline = Instant::now() + NOTICE_TIMEOUT;
    let fault = loop {
        if let Some(fault) = store.health.fault() {
            break fault;
        }
        assert!(Instant::now() < deadline, "nothing was latched");
        tokio::task::yield_now().await;
    };
    assert!(fault.reason.contains("a bug of the engine") && fault.path.ends_with("log"), "{fault}");
    assert!(store.reader.query(()).await.is_err());
}
