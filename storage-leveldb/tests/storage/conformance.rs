//! openraft's own conformance suite, on LevelDB and on the memory engine.

use std::sync::Arc;

use crate::support::{Register, Types};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use storage_leveldb::{LogStore, MemoryEngine, Options, StateMachine};

#[derive(Clone, Copy)]
enum Engine {
    LevelDb,
    Memory,
}

impl StoreBuilder<Types, LogStore<Types>, StateMachine<Types, Register>, tempfile::TempDir> for Engine {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore<Types>, StateMachine<Types, Register>), StorageError<Types>>
    {
        let dir = tempfile::tempdir().unwrap();
        let options = match self {
            Self::LevelDb => Options::default(),
            Self::Memory => Options { engine: Some(Arc::new(MemoryEngine::default())), ..Options::default() },
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
