//! openraft's own conformance suite, on every engine.

use std::sync::Arc;

use crate::support::{Register, Types};
use crate::third_engine::OneFileFactory;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use storage_leveldb::testing::disk::RealDisk;
use storage_leveldb::testing::engine::MemoryEngine;
use storage_leveldb::{LogStore, Options, StateMachine};

#[derive(Clone, Copy)]
enum Engine {
    LevelDb,
    Memory,
    Third,
}

impl StoreBuilder<Types, LogStore<Types>, StateMachine<Types, Register>, tempfile::TempDir> for Engine {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore<Types>, StateMachine<Types, Register>), StorageError<Types>>
    {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::default();
        let options = match self {
            Self::LevelDb => options,
            Self::Memory => options.with_engine(Arc::new(MemoryEngine::default())),
            Self::Third => options.with_engine(Arc::new(OneFileFactory(Arc::new(RealDisk)))),
        };
        let store = crate::support::open(dir.path(), options).await.unwrap();
        Ok((dir, store.log, store.state))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leveldb_passes_the_suite() {
    Suite::test_all(Engine::LevelDb).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes_the_suite() {
    Suite::test_all(Engine::Memory).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_engine_passes_the_suite() {
    Suite::test_all(Engine::Third).await.unwrap();
}
