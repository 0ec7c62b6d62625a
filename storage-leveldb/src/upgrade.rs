//! Makes a directory of format 2 of one of format 1, in place. Called by [`Storage::open`](crate::Storage::open).
//!
//! ```text
//! format 1   state/ACTIVE ─▶ state/db-N/              a LevelDB of all pairs, with their position
//!            snapshot/ACTIVE ─▶ snapshot/N-LENGTH.snap
//! format 2   state/ROOT ─▶ state/run-N/
//! ```
//!
//! The log is the same in both. Of state and snapshot the newer becomes a run: a crash may have come between a snapshot
//! that was received and the state that was made of it.
//!
//! Nothing of format 1 is changed or removed before FORMAT says 2, and nothing of format 2 counts before. So a crash on
//! the way begins again from the start, a directory that is refused for its damage is as it was, and until the end of
//! it the version that wrote the directory can still open it.

mod old_snapshot;
mod old_state;

use std::path::Path;
use std::sync::Arc;

use openraft::RaftTypeConfig;

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

/// Names that only format 1 has in `state/`.
const ACTIVE: &str = "ACTIVE";
const ACTIVE_TEMPORARY: &str = "ACTIVE.tmp";
const DATABASE: &str = "db-";
const CHECKPOINT: &str = "checkpoint-";
/// The directory of the snapshot's file.
const SNAPSHOT: &str = "snapshot";

/// What an upgrade works with.
pub(crate) struct Upgrade<'a> {
    /// The storage directory.
    pub(crate) dir: &'a Path,
    pub(crate) disk: &'a GuardedDisk,
    /// Opens the old database without changing anything on the disk.
    pub(crate) old_engine: Arc<dyn EngineFactory>,
    /// Writes the run.
    pub(crate) engine: Arc<dyn EngineFactory>,
}

/// Where the pairs come from, and how far they were applied.
enum Source<C: RaftTypeConfig> {
    State(OldState<C>),
    Snapshot(Box<OldSnapshot<C>>),
}

impl Upgrade<'_> {
    /// Writes the state in format 2; durable when it returns, and FORMAT is still to be replaced.
    pub(crate) fn write_state<C: StandardTypes>(&self, log: LogPosition<C>) -> Result<(), StorageError> {
        let state_dir = self.dir.join("state");
        let state = OldState::<C>::open(self.disk, &state_dir, self.old_engine.as_ref())?;
        let snapshot = OldSnapshot::<C>::open(self.disk, &self.dir.join(SNAPSHOT))?;
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
        standing.check(self.disk, self.dir)?;
        let writer = self.new_run(&state_dir)?;
        self.fill(&state_dir, position, source, writer)
    }

    /// Whether entries were applied here, whatever FORMAT says.
    pub(crate) fn finds_old_data<C: StandardTypes>(&self) -> Result<bool, StorageError> {
        let (state_dir, snapshot_dir) = (self.dir.join("state"), self.dir.join(SNAPSHOT));
        let has_marker = |dir: &Path| self.disk.len(&dir.join(ACTIVE)).map(|len| len.is_some());
        let state = match has_marker(&state_dir)? {
            true => OldState::<C>::find(self.disk, &state_dir, self.old_engine.as_ref())?,
            false => None,
        };
        let is_applied = state.is_some_and(|state| state.position.applied.is_some());
        let has_snapshot =
            has_marker(&snapshot_dir)? && OldSnapshot::<C>::open(self.disk, &snapshot_dir)?.is_some();
        Ok(is_applied || has_snapshot)
    }

    /// None that is there counts, but a name that was used is not used again.
    fn new_run(&self, state_dir: &Path) -> Result<StateRunWriter, StorageError> {
        let mut greatest = 0;
        for name in self.disk.list(state_dir)? {
            if let Some(number) = run_number(&name) {
                self.disk.delete_dir(&state_dir.join(&name))?;
                greatest = greatest.max(number);
            }
        }
        let number = greatest.saturating_add(1);
        StateRunWriter::create(&self.engine, self.disk, state_dir.join(run_name(number)), number)
    }

    fn fill<C: StandardTypes>(
        &self,
        state_dir: &Path,
        position: Position<C>,
        source: Source<C>,
        mut writer: StateRunWriter,
    ) -> Result<(), StorageError> {
        match source {
            Source::State(mut state) => state.copy_to(&mut writer)?,
            Source::Snapshot(snapshot) => snapshot.copy_to(&mut writer)?,
        }
        let run = if writer.is_empty() { None } else { Some(writer.finish()?.open(&self.engine)?) };
        let root = Root { position, runs: run.iter().map(|run| run.record).collect() };
        Ok(root.replace(self.disk, state_dir)?)
    }
}

/// Removes what only format 1 has. To be called once FORMAT says that there is another, and the state has been found
/// good; and at every start, because a crash may bring back what was removed.
pub(crate) fn remove_old(disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
    for (in_state, dir) in [(true, dir.join("state")), (false, dir.to_owned())] {
        let names = disk.list(&dir)?;
        for name in names.iter().filter_map(|name| name.to_str()).filter(|name| is_old(in_state, name)) {
            match name {
                ACTIVE | ACTIVE_TEMPORARY => disk.delete(&dir.join(name))?,
                _ => disk.delete_dir(&dir.join(name))?,
            }
        }
    }
    Ok(())
}

/// Whether only format 1 has this in a storage directory, or in its `state/`.
pub(crate) fn is_old(in_state: bool, name: &str) -> bool {
    match in_state {
        true => {
            let is_numbered = |prefix| number_of(name, prefix).is_some();
            matches!(name, ACTIVE | ACTIVE_TEMPORARY) || is_numbered(DATABASE) || is_numbered(CHECKPOINT)
        }
        false => name == SNAPSHOT,
    }
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
