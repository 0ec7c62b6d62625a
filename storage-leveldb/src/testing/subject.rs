//! What is tested: an application, its commands, and how its storage is opened.

use std::path::Path;
use std::sync::Arc;

use openraft::RaftTypeConfig;

use super::inspected::Inspected;
use super::random::Random;
use super::sim_disk::SimDisk;
use crate::engine::LevelDbOptions;
use crate::error::StorageError;
use crate::options::Options;
use crate::state::{Application, StandardTypes};
use crate::storage::Storage;

/// Type configurations that the tests of this module can make entries for.
pub trait TestTypes: StandardTypes<NodeId: Default, Node: Default> {}

impl<C> TestTypes for C where C: StandardTypes<NodeId: Default, Node: Default> {}

/// Small enough that LevelDB rotates logs, writes tables and compacts all the time.
const SMALL: LevelDbOptions = LevelDbOptions {
    // So that it is begun anew now and then.
    manifest_bytes: 4096,
    // Less than some frames have, more than others.
    log_step_bytes: 1500,
    write_buffer_bytes: 2048,
    table_bytes: 2048,
    block_cache_bytes: 1 << 16,
    open_tables: 64,
    run_table_bytes: 2048,
    table_cache_bytes: 1 << 16,
};
/// The top-level directory of a simulated disk.
pub(crate) const MOUNT: &str = "disk";
/// Where the storage lies on it.
pub(crate) const DIR: &str = "disk/node";

pub(crate) type Store<C, A> = Storage<C, Inspected<A>>;

/// Makes a random command.
pub(crate) type MakeCommand<C> = dyn Fn(&mut Random) -> <C as RaftTypeConfig>::D + Send + Sync;

/// Makes applications and commands. Cheap to clone.
pub(crate) struct Subject<C: openraft::RaftTypeConfig, A> {
    application: Arc<dyn Fn() -> A + Send + Sync>,
    command: Arc<MakeCommand<C>>,
    pub(crate) options: Options,
}

impl<C: TestTypes, A> Clone for Subject<C, A> {
    fn clone(&self) -> Self {
        let (application, command) = (self.application.clone(), self.command.clone());
        Self { application, command, options: self.options.clone() }
    }
}

impl<C: TestTypes, A: Application<C>> Subject<C, A> {
    pub(crate) fn new(
        application: impl Fn() -> A + Send + Sync + 'static,
        command: impl Fn(&mut Random) -> C::D + Send + Sync + 'static,
    ) -> Self {
        let options = Options {
            tail_bytes: 2000,
            log_segment_bytes: 16_000,
            memtable_bytes: 4000,
            log_leveldb: SMALL,
            state_leveldb: SMALL,
            ..Options::default()
        };
        Self { application: Arc::new(application), command: Arc::new(command), options }
    }

    pub(crate) fn application(&self) -> A {
        (self.application)()
    }

    pub(crate) fn command(&self, random: &mut Random) -> C::D {
        (self.command)(random)
    }

    /// Opens the storage on a simulated disk.
    pub(crate) async fn open(&self, disk: &SimDisk) -> Result<Store<C, A>, StorageError> {
        let options = Options { disk: Arc::new(disk.clone()), ..self.options.clone() };
        Storage::open(Path::new(DIR), Inspected(self.application()), options).await
    }
}
