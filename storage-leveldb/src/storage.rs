//! A storage directory: log, state machine and snapshots of one Raft node.
//!
//! ```text
//! DIR/LOCK       held while the storage is open
//! DIR/FORMAT     written once the databases exist: from then on a missing one is damage
//! DIR/log/       the log's segments, and which of them count
//! DIR/state/     the state's tables, and which of them count
//! ```

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, GuardedDisk, OverlayDisk, create_dir_durably};
use crate::engine::{EngineFactory, LevelDb, LevelDbOptions};
use crate::error::StorageError;
use crate::file::marker;
use crate::health::{Fault, Health};
use crate::log::LogEngines;
use crate::lsm::merge_operator::MergeFunction;
use crate::lsm::tree::LsmTree;
use crate::observer::{Db, Silent};
use crate::options::Options;
use crate::raft::position::Position;
use crate::raft::{
    Application, LogStore, SnapshotInbox, StandardTypes, Standing, StateMachine, StateReader, merge_function,
};
use crate::sizes::Sizes;

const FORMAT_FILE: &str = "FORMAT";
/// Version of what is on disk.
const FORMAT: &str = "storage-leveldb 1\n";
/// What opening an old database may change in memory: its recovery writes the logs' pairs into
/// tables and compacts once.
const MAX_OVERLAY_BYTES: u64 = 256 << 20;

/// Everything one Raft node stores, opened. Take it apart: `log` and `state` go to openraft, the
/// rest is for the application.
///
/// Dropping the log store, its readers, the state machine and its readers closes the databases.
pub struct Storage<C: openraft::RaftTypeConfig, A: Application<C>> {
    /// For openraft: the log.
    pub log: LogStore<C>,
    /// For openraft: the state machine.
    pub state: StateMachine<C, A>,
    /// Queries.
    pub reader: StateReader<C, A>,
    /// Where a snapshot from a peer is written.
    pub inbox: SnapshotInbox,
    /// The first fault, if there is one.
    pub health: Health,
    /// Bytes on disk.
    pub sizes: Sizes,
}

impl<C: StandardTypes, A: Application<C>> Storage<C, A> {
    /// Opens the storage in `dir`, creating it if the directory is empty or missing, and recovers
    /// from whatever ended the last process that had it open.
    ///
    /// # Errors
    /// [`StorageError::Busy`] if another process has it open; else a fault that names the damaged
    /// file.
    pub async fn open(dir: &Path, application: A, options: Options) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        let open = move || {
            let application = Arc::new(application);
            let parts = OpenedParts::<C>::open(&dir, options, merge_function::<C, A>(&application))?;
            let state = StateMachine::start(application, parts.tree)?;
            let sizes = Sizes::new(parts.disk, dir.join("log"), state.reader.live_dirs(), dir.join("state"));
            let (reader, inbox) = (state.reader(), state.inbox());
            Ok(Self { log: parts.log, reader, inbox, state, health: parts.health, sizes })
        };
        tokio::task::spawn_blocking(open).await.map_err(|_| StorageError::Closed)?
    }
}

/// What is in a storage directory, found to be sound and to belong together; nothing works on it
/// yet.
pub(crate) struct OpenedParts<C: StandardTypes> {
    log: LogStore<C>,
    tree: LsmTree,
    health: Health,
    disk: Arc<dyn Disk>,
}

impl<C: StandardTypes> OpenedParts<C> {
    pub(crate) fn open(dir: &Path, options: Options, merge: MergeFunction) -> Result<Self, StorageError> {
        let lock = lock(options.disk.as_ref(), dir)?;
        let disk = GuardedDisk::new(options.disk.clone(), options.observer.clone(), lock);
        disk.create_dir(dir)?;
        let is_new = !is_formatted(&disk, dir)?;
        if is_new && options.must_exist {
            let reason = "missing, although this node has stored data here; replace it by one with a new id";
            return Err(disk.damaged(&dir.join(FORMAT_FILE), reason).into());
        }
        let log = options.part(disk.for_db(Db::Log), options.log_leveldb, dir.join("log"));
        let state = options.part(disk.for_db(Db::State), options.state_leveldb(), dir.join("state"));
        let engines = LogEngines { factory: log.engine.clone(), read_only: options.read_only() };
        let log = LogStore::open(&log.dir, engines, log.disk.clone(), &options, is_new)?;
        let tree =
            LsmTree::open(&state.dir, state.disk, state.engine, options.memtable_bytes, merge, is_new)?;
        let standing = Standing { log: log.position(), applied: Position::<C>::durable(&tree)?.applied };
        standing.check(&disk, dir)?;
        if is_new {
            let marker = dir.join(FORMAT_FILE);
            standing.check_new(&disk, &marker)?;
            marker::replace(&disk, &marker, FORMAT.as_bytes())?;
        }
        tree.remove_garbage()?;
        log.begin();
        Ok(Self { log, tree, health: disk.health, disk: options.disk })
    }
}

/// Where the log or the state lies, and what opens it.
struct Part {
    dir: PathBuf,
    disk: GuardedDisk,
    engine: Arc<dyn EngineFactory>,
}

impl Options {
    fn part(&self, disk: GuardedDisk, leveldb: LevelDbOptions, dir: PathBuf) -> Part {
        Part { dir, engine: self.engine_on(disk.clone(), leveldb), disk }
    }

    fn engine_on(&self, disk: GuardedDisk, leveldb: LevelDbOptions) -> Arc<dyn EngineFactory> {
        match &self.engine {
            Some(factory) => factory.clone(),
            None => Arc::new(LevelDb::new(disk, leveldb).accept_copies(self.accept_copy)),
        }
    }

    /// Opens databases of the log without changing anything on the disk, and latches nothing.
    /// LevelDB cannot open one without writing; what it writes stays in memory.
    fn read_only(&self) -> Arc<dyn EngineFactory> {
        let overlay = Arc::new(OverlayDisk::new(self.disk.clone(), MAX_OVERLAY_BYTES));
        let unlatched = GuardedDisk::new(overlay, Arc::new(Silent), Arc::new(()));
        self.engine_on(unlatched, self.log_leveldb)
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn Any + Send + Sync>, StorageError> {
    create_dir_durably(disk, dir).map_err(|e| Fault::io("create", dir, e))?;
    match disk.lock(&dir.join("LOCK")) {
        Ok(lock) => Ok(Arc::from(lock)),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Err(StorageError::Busy(dir.to_owned())),
        Err(e) => Err(Fault::io("lock", dir.join("LOCK"), e).into()),
    }
}

/// Whether the directory is of this version's format. `false`: it is new, or its first start did
/// not get to its end.
pub(crate) fn is_formatted(disk: &GuardedDisk, dir: &Path) -> Result<bool, Fault> {
    let path = dir.join(FORMAT_FILE);
    match marker::read(disk, &path)? {
        None => Ok(false),
        Some(format) if format == FORMAT.as_bytes() => Ok(true),
        Some(other) => {
            let (other, ours) = (String::from_utf8_lossy(&other), FORMAT.trim());
            let reason = format!("format {:?}; this version reads {ours:?} only", other.trim());
            Err(disk.other_format(&path, reason))
        }
    }
}
