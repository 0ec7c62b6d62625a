//! A storage directory: log, state machine and snapshots of one Raft node.
//!
//! ```text
//! DIR/LOCK       held while the storage is open
//! DIR/FORMAT     written once the databases exist: from then on a missing one is damage
//! DIR/log/       the log's segments, and which of them count
//! DIR/state/     the state machine's runs, and which of them count
//! ```

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cross_check::Standing;
use crate::disk::{Disk, GuardedDisk, OverlayDisk, create_dir_durably};
use crate::engine::{EngineFactory, LevelDb, LevelDbOptions};
use crate::error::StorageError;
use crate::file::marker;
use crate::health::Health;
use crate::log::{LogEngines, LogStore};
use crate::observer::{Db, NoObserver};
use crate::options::Options;
use crate::sizes::Sizes;
use crate::state::{
    Application, ApplicationMerge, SnapshotInbox, StandardTypes, StateMachine, StateReader, Store,
};
use crate::upgrade::{Upgrade, UpgradedPart, remove_old};

const FORMAT_FILE: &str = "FORMAT";
/// Version of the directory's layout.
const FORMAT: &[u8] = b"storage-leveldb 5\n";
/// The version before it.
const FORMAT_4: &[u8] = b"storage-leveldb 4\n";
/// And so on.
const FORMAT_3: &[u8] = b"storage-leveldb 3\n";
const FORMAT_2: &[u8] = b"storage-leveldb 2\n";
/// The first version.
const FORMAT_1: &[u8] = b"storage-leveldb 1\n";
/// What opening an old database may change in memory: its recovery writes the logs' pairs into tables and compacts once.
const MAX_OVERLAY_BYTES: u64 = 256 << 20;

/// Everything one Raft node stores, opened. Take it apart: `log` and `state` go to openraft, the rest is for
/// the application.
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
    /// Opens the storage in `dir`, creating it if the directory is empty or missing, and recovers from
    /// whatever ended the last process that had it open.
    ///
    /// # Errors
    /// [`StorageError::Busy`] if another process has it open; else a fault that names the damaged file.
    pub async fn open(dir: &Path, application: A, options: Options) -> Result<Self, StorageError> {
        let dir = dir.to_owned();
        let open = move || {
            let application = Arc::new(application);
            let parts = OpenedParts::open(&dir, options, ApplicationMerge::of::<C, A>(&application))?;
            let state = StateMachine::start(application, parts.store)?;
            let sizes =
                Sizes::new(parts.disk, dir.join("log"), state.reader.counting_dirs(), dir.join("state"));
            let (reader, inbox) = (state.reader(), state.inbox());
            Ok(Self { log: parts.log, reader, inbox, state, health: parts.health, sizes })
        };
        tokio::task::spawn_blocking(open).await.map_err(|_| StorageError::Closed)?
    }
}

/// What is in a storage directory, found to be sound and to belong together; nothing works on it yet.
pub(crate) struct OpenedParts<C: StandardTypes> {
    log: LogStore<C>,
    store: Store<C>,
    health: Health,
    disk: Arc<dyn Disk>,
}

impl<C: StandardTypes> OpenedParts<C> {
    pub(crate) fn open(dir: &Path, options: Options, merge: ApplicationMerge) -> Result<Self, StorageError> {
        let lock = lock(options.disk.as_ref(), dir)?;
        let disk = GuardedDisk::new(options.disk.clone(), options.observer.clone(), lock);
        disk.create_dir(dir)?;
        let format = check_format(&disk, dir)?;
        let is_new = format == Format::New;
        if is_new && options.must_exist {
            let reason = "missing, although this node has stored data here; replace it by one with a new id";
            return Err(disk.damaged(&dir.join(FORMAT_FILE), reason).into());
        }
        let log = options.part(disk.for_db(Db::Log), options.log_leveldb, dir.join("log"));
        let state = options.part(disk.for_db(Db::State), options.state_leveldb, dir.join("state"));
        let upgrade = Upgrade { dir, log: &log, state: &state };
        if matches!(format, Format::First | Format::Second) {
            upgrade.write_log::<C>()?;
        }
        let engines = LogEngines { factory: log.engine.clone(), spectator: options.spectator() };
        let log = LogStore::open(&log.dir, engines, log.disk.clone(), &options, is_new)?;
        if format == Format::First {
            upgrade.write_state::<C>(log.position())?;
        }
        if !matches!(format, Format::New | Format::Current) {
            marker::replace(&disk, &dir.join(FORMAT_FILE), FORMAT)?;
            tracing::info!(path = %dir.display(), "the directory was of an older format and is now of format 5");
        }
        let (state_disk, engine) = (state.disk.clone(), state.engine.clone());
        let store = Store::<C>::open(&state.dir, state_disk, engine, &options, merge, is_new)?;
        let standing = Standing { log: log.position(), applied: store.durable_position().applied };
        standing.check(&disk, dir)?;
        if is_new {
            let marker = dir.join(FORMAT_FILE);
            standing.check_new(&disk, &marker, upgrade.finds_old_data::<C>()?)?;
            marker::replace(&disk, &marker, FORMAT)?;
        }
        store.remove_garbage()?;
        remove_old(&disk, dir)?;
        log.begin();
        Ok(Self { log, store, health: disk.health, disk: options.disk })
    }
}

impl Options {
    /// Where the log or the state lies, and what opens it.
    fn part(&self, disk: GuardedDisk, leveldb: LevelDbOptions, dir: PathBuf) -> UpgradedPart {
        let old_engine = self.engine_on(self.overlay(&disk), leveldb);
        UpgradedPart { dir, engine: self.engine_on(disk.clone(), leveldb), old_engine, disk }
    }

    fn engine_on(&self, disk: GuardedDisk, leveldb: LevelDbOptions) -> Arc<dyn EngineFactory> {
        match &self.engine {
            Some(factory) => factory.clone(),
            None => Arc::new(LevelDb::new(disk, leveldb).accept_copies(self.accept_copy)),
        }
    }

    /// LevelDB cannot open a database without writing; what it writes stays in memory.
    fn overlay(&self, disk: &GuardedDisk) -> GuardedDisk {
        disk.over(Arc::new(OverlayDisk::new(self.disk.clone(), MAX_OVERLAY_BYTES)))
    }

    /// Opens databases of the log without changing anything on the disk, and latches nothing.
    fn spectator(&self) -> Arc<dyn EngineFactory> {
        let unlatched = GuardedDisk::new(self.disk.clone(), Arc::new(NoObserver), Arc::new(()));
        self.engine_on(self.overlay(&unlatched), self.log_leveldb)
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn Any + Send + Sync>, StorageError> {
    create_dir_durably(disk, dir).map_err(|e| StorageError::at(dir, format!("cannot create: {e}")))?;
    match disk.lock(&dir.join("LOCK")) {
        Ok(lock) => Ok(Arc::from(lock)),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Err(StorageError::Busy(dir.to_owned())),
        Err(e) => Err(StorageError::at(&dir.join("LOCK"), format!("cannot lock: {e}"))),
    }
}

/// Who wrote a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nobody, or a first start that did not get to its end.
    New,
    /// The first version; a start upgrades it.
    First,
    /// The one after it; a start upgrades it.
    Second,
    /// The next; the log goes on in a segment of this one.
    Third,
    /// The version before this one; its runs have no operands.
    Fourth,
    /// This version.
    Current,
}

/// Which format a directory has, if this version can open it.
pub(crate) fn check_format(disk: &GuardedDisk, dir: &Path) -> Result<Format, StorageError> {
    let path = dir.join(FORMAT_FILE);
    match marker::read(disk, &path)? {
        None => Ok(Format::New),
        Some(format) if format == FORMAT => Ok(Format::Current),
        Some(format) if format == FORMAT_4 => Ok(Format::Fourth),
        Some(format) if format == FORMAT_3 => Ok(Format::Third),
        Some(format) if format == FORMAT_1 => Ok(Format::First),
        Some(format) if format == FORMAT_2 => Ok(Format::Second),
        Some(other) => {
            let other = String::from_utf8_lossy(&other).trim().to_owned();
            Err(disk
                .damaged(
                    &path,
                    format!("format {other:?}; this version reads {:?} only", "storage-leveldb 5"),
                )
                .into())
        }
    }
}

/// A database that has gone missing must not be started empty: with it would go the vote and acknowledged
/// entries.
pub(crate) fn expect_database(
    disk: &GuardedDisk,
    engine: &dyn EngineFactory,
    dir: &Path,
) -> Result<(), StorageError> {
    if engine.exists(dir)? {
        return Ok(());
    }
    let reason = "the database is missing; replace this node by one with a new id";
    Err(disk.damaged(dir, reason).into())
}
