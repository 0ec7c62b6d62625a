//! What is tested: an application, its commands, and how its storage is opened.

use std::path::Path;
use std::sync::Arc;

use super::author::{Author, Effect, Watcher};
use super::inspected::Inspected;
use super::random::Random;
use super::sim_disk::SimDisk;
use crate::engine::{LevelDbOptions, MemoryEngine};
use crate::error::StorageError;
use crate::lsm::View;
use crate::options::Options;
use crate::raft::{Application, StandardTypes};
use crate::storage::Storage;

/// Type configurations that the tests of this module can make entries for.
pub trait TestTypes: StandardTypes<NodeId: Default, Node: Default> {}

impl<C> TestTypes for C where C: StandardTypes<NodeId: Default, Node: Default> {}

/// Small enough that LevelDB rotates logs, writes tables and compacts all the time.
const SMALL: LevelDbOptions = LevelDbOptions {
    // Less than some frames have, more than others.
    log_step_bytes: 1500,
    write_buffer_bytes: 2048,
    table_bytes: 2048,
    block_cache_bytes: 1 << 16,
    open_tables: 64,
    table_file_bytes: 2048,
    table_cache_bytes: 1 << 16,
};
/// The top-level directory of a simulated disk.
pub(crate) const MOUNT: &str = "disk";
/// Where the storage lies on it.
pub(crate) const DIR: &str = "disk/node";

pub(crate) type Store<C, A> = Storage<C, Inspected<A>>;

/// What is made of an application and its state behind an entry.
pub(crate) type Probe<A> = dyn Fn(&A, &mut View<'_>, u64) -> Vec<u8> + Send + Sync;

/// Makes applications and commands. Cheap to clone.
pub(crate) struct Subject<C: openraft::RaftTypeConfig, A> {
    application: Arc<dyn Fn() -> A + Send + Sync>,
    pub(crate) author: Author<C>,
    watcher: Option<Arc<Watcher<C>>>,
    pub(crate) probe: Option<Arc<Probe<A>>>,
    pub(crate) options: Options,
}

impl<C: TestTypes, A> Clone for Subject<C, A> {
    fn clone(&self) -> Self {
        let (application, author) = (self.application.clone(), self.author.clone());
        let (watcher, probe) = (self.watcher.clone(), self.probe.clone());
        Self { application, author, watcher, probe, options: self.options.clone() }
    }
}

impl<C: TestTypes, A: Application<C>> Subject<C, A> {
    pub(crate) fn new(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random) -> C::D + Send + Sync + 'static,
    ) -> Self {
        Self::by(application, Author::Blind(Arc::new(command)))
    }

    /// The same with commands for the state that they will meet.
    pub(crate) fn seeing(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random, &mut View<'_>) -> C::D + Send + Sync + 'static,
    ) -> Self {
        Self::by(application, Author::Seeing(Arc::new(command)))
    }

    fn by(application: impl Fn() -> A + Send + Sync + 'static, author: Author<C>) -> Self {
        let options = Options {
            tail_bytes: 2000,
            log_segment_bytes: 16_000,
            memtable_bytes: 4000,
            log_leveldb: SMALL,
            open_tables: SMALL.open_tables,
            table_cache_bytes: SMALL.table_cache_bytes,
            table_file_bytes: SMALL.table_file_bytes,
            ..Options::default()
        };
        Self { application: Arc::new(application), author, watcher: None, probe: None, options }
    }

    /// Tells `watcher` what each entry did.
    pub(crate) fn watched(self, watcher: impl Fn(&Effect<'_, C>) + Send + Sync + 'static) -> Self {
        Self { watcher: Some(Arc::new(watcher)), ..self }
    }

    pub(crate) fn application(&self) -> A {
        (self.application)()
    }

    pub(crate) fn probed(
        self,
        probe: impl Fn(&A, &mut View<'_>, u64) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self { probe: Some(Arc::new(probe)), ..self }
    }

    pub(crate) fn watcher(&self) -> Option<&Watcher<C>> {
        self.watcher.as_deref()
    }

    /// The same over an engine that never fails.
    pub(crate) fn in_memory(&self) -> Self {
        let mut this = self.clone();
        this.options.engine = Some(Arc::new(MemoryEngine::default()));
        this
    }

    /// Opens the storage on a simulated disk.
    pub(crate) async fn open(&self, disk: &SimDisk) -> Result<Store<C, A>, StorageError> {
        self.open_as(disk, Inspected(self.application())).await
    }

    /// The same with this application.
    pub(crate) async fn open_as<B: Application<C>>(
        &self,
        disk: &SimDisk,
        application: B,
    ) -> Result<Storage<C, B>, StorageError> {
        let options = Options { disk: Arc::new(disk.clone()), ..self.options.clone() };
        Storage::open(Path::new(DIR), application, options).await
    }
}
