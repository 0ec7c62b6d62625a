//! Makes a directory of this format of one of format 1 or 2, in place. Called by [`Storage::open`](crate::Storage::open).
//!
//! ```text
//! format 1   log/                                     a LevelDB of all entries and marks
//!            state/ACTIVE ─▶ state/db-N/              a LevelDB of all pairs, with their position
//!            snapshot/ACTIVE ─▶ snapshot/N-LENGTH.snap
//! format 2   log/                                     the same
//!            state/ROOT ─▶ state/run-N/
//! since 3    log/ROOT ─▶ log/segment-N/, log/run-N/
//!            state/ROOT ─▶ state/run-N/
//! ```
//!
//! The old log's entries become a run, and its marks begin a new segment. Of an old state and snapshot the newer becomes a
//! run: a crash may have come between a snapshot that was received and the state that was made of it.
//!
//! A log of format 3 needs nothing here: it goes on in a segment of this format (`log::load`).
//!
//! Nothing of an older format is changed or removed before FORMAT names this one, and nothing new counts before. So a
//! crash on the way begins again from the start, a directory that is refused for its damage is as it was, and until the
//! end of it the version that wrote the directory can still open it.

mod old_log;
mod old_snapshot;
mod old_state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::RaftTypeConfig;

use self::old_log::OldLog;
use self::old_snapshot::OldSnapshot;
use self::old_state::OldState;
use crate::cross_check::Standing;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::file::marker;
use crate::health::Fault;
use crate::log::LogPosition;
use crate::state::{Position, Root, StandardTypes, StateRunWriter, run_name, run_number};
use crate::storage::expect_database;

/// Names that only format 1 has in `state/`.
const ACTIVE: &str = "ACTIVE";
const ACTIVE_TEMPORARY: &str = "ACTIVE.tmp";
const DATABASE: &str = "db-";
const CHECKPOINT: &str = "checkpoint-";
/// The directory of the snapshot's file.
const SNAPSHOT: &str = "snapshot";

/// The log or the state.
pub(crate) struct UpgradedPart {
    pub(crate) dir: PathBuf,
    pub(crate) disk: GuardedDisk,
    /// Opens the old database without changing anything on the disk.
    pub(crate) old_engine: Arc<dyn EngineFactory>,
    /// Writes what it becomes.
    pub(crate) engine: Arc<dyn EngineFactory>,
}

/// What an upgrade works with.
pub(crate) struct Upgrade<'a> {
    /// The storage directory.
    pub(crate) dir: &'a Path,
    pub(crate) log: &'a UpgradedPart,
    pub(crate) state: &'a UpgradedPart,
}

/// Where the pairs come from, and how far they were applied.
enum Source<C: RaftTypeConfig> {
    State(OldState<C>),
    Snapshot(Box<OldSnapshot<C>>),
}

impl Upgrade<'_> {
    /// Writes the log as segments; durable when it returns, and FORMAT is still to be replaced.
    pub(crate) fn write_log<C: StandardTypes>(&self) -> Result<(), StorageError> {
        let log = self.log;
        expect_database(&log.disk, log.old_engine.as_ref(), &log.dir)?;
        OldLog::open(&log.disk, &log.dir, log.old_engine.as_ref())?.write_to::<C>(&log.engine)
    }

    /// Writes the state in the format it has since format 2; durable when it returns, and FORMAT is still to be replaced.
    pub(crate) fn write_state<C: StandardTypes>(&self, log: LogPosition<C>) -> Result<(), StorageError> {
        let UpgradedPart { disk, dir, old_engine, .. } = self.state;
        let state = OldState::<C>::open(disk, dir, old_engine.as_ref())?;
        let snapshot = OldSnapshot::<C>::open(disk, &self.dir.join(SNAPSHOT))?;
        let source = match snapshot {
            Some(snapshot) if snapshot.position().applied > state.position.applied => {
                Source::Snapshot(Box::new(snapshot))
            }
            _ => Source::State(state),
        };
        let position = match &source {
            Source::State(state) => state.position.clone(),
            Source::Snapshot(snapshot) => snapshot.position(),
        };
        let standing = Standing { log, applied: position.applied.clone() };
        standing.check(disk, self.dir)?;
        self.fill(position, source, self.new_run()?)
    }

    /// Whether votes were given, or entries stored or applied here, in an older format, whatever FORMAT says.
    pub(crate) fn finds_old_data<C: StandardTypes>(&self) -> Result<bool, StorageError> {
        let UpgradedPart { disk, dir, old_engine, .. } = self.state;
        let snapshot_dir = self.dir.join(SNAPSHOT);
        let has_marker = |dir: &Path| disk.len(&dir.join(ACTIVE)).map(|len| len.is_some());
        let state = match has_marker(dir)? {
            true => OldState::<C>::find(disk, dir, old_engine.as_ref())?,
            false => None,
        };
        let is_applied = state.is_some_and(|state| state.position.applied.is_some());
        let has_snapshot =
            has_marker(&snapshot_dir)? && OldSnapshot::<C>::open(disk, &snapshot_dir)?.is_some();
        Ok(is_applied || has_snapshot || self.finds_old_log()?)
    }

    fn finds_old_log(&self) -> Result<bool, StorageError> {
        let log = self.log;
        if !log.old_engine.exists(&log.dir)? {
            return Ok(false);
        }
        OldLog::open(&log.disk, &log.dir, log.old_engine.as_ref())?.is_used()
    }

    /// None that is there counts, but a name that was used is not used again.
    fn new_run(&self) -> Result<StateRunWriter, StorageError> {
        let UpgradedPart { disk, dir, engine, .. } = self.state;
        let mut greatest = 0;
        for name in disk.list(dir)? {
            if let Some(number) = run_number(&name) {
                disk.delete_dir(&dir.join(&name))?;
                greatest = greatest.max(number);
            }
        }
        let number = greatest.saturating_add(1);
        StateRunWriter::create(engine, disk, dir.join(run_name(number)), number)
    }

    fn fill<C: StandardTypes>(
        &self,
        position: Position<C>,
        source: Source<C>,
        mut writer: StateRunWriter,
    ) -> Result<(), StorageError> {
        match source {
            Source::State(mut state) => state.copy_to(&mut writer)?,
            Source::Snapshot(snapshot) => snapshot.copy_to(&mut writer)?,
        }
        let UpgradedPart { disk, dir, engine, .. } = self.state;
        let run = if writer.is_empty() { None } else { Some(writer.finish()?.open(engine)?) };
        let root = Root { position, runs: run.iter().map(|run| run.record).collect() };
        Ok(root.replace(disk, dir)?)
    }
}

/// Where something lies in a storage directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Top,
    Log,
    State,
}

/// Removes what only older formats have. To be called once FORMAT says that there is another, and the rest has been found
/// good; and at every start, because a crash may bring back what was removed.
pub(crate) fn remove_old(disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
    let places =
        [(Place::State, dir.join("state")), (Place::Log, dir.join("log")), (Place::Top, dir.to_owned())];
    for (place, dir) in places {
        let names = disk.list(&dir)?;
        for name in names.iter().filter_map(|name| name.to_str()).filter(|name| is_old(place, name)) {
            let is_file = place == Place::Log || matches!(name, ACTIVE | ACTIVE_TEMPORARY);
            if is_file { disk.delete(&dir.join(name))? } else { disk.delete_dir(&dir.join(name))? }
        }
    }
    Ok(())
}

/// Whether only older formats have something of this name there.
pub(crate) fn is_old(place: Place, name: &str) -> bool {
    match place {
        Place::Top => name == SNAPSHOT,
        Place::Log => is_of_leveldb(name),
        Place::State => {
            let is_numbered = |prefix| number_of(name, prefix).is_some();
            matches!(name, ACTIVE | ACTIVE_TEMPORARY) || is_numbered(DATABASE) || is_numbered(CHECKPOINT)
        }
    }
}

/// Whether LevelDB, or what we add to it, calls a file so.
fn is_of_leveldb(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let is_numbered = matches!(extension, Some("ldb" | "log" | "dbtmp"));
    let is_root = matches!(name, "CURRENT" | "CURRENT.tmp" | "WITNESS" | "WITNESS.tmp");
    is_numbered || is_root || name.starts_with("MANIFEST-")
}

/// The number in a name made of `prefix` and a number.
fn number_of(name: &str, prefix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.parse().ok()
}

/// What a marker of format 1 says, which is the name of something.
fn named_by(disk: &GuardedDisk, marker: &Path) -> Result<String, Fault> {
    let content = marker::read(disk, marker)?.ok_or_else(|| disk.damaged(marker, "missing"))?;
    String::from_utf8(content).map_err(|_| disk.damaged(marker, "does not name anything"))
}
