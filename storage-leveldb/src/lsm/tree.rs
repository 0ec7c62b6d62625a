//! The state, shared between the thread that applies, those that read, and those that write it to disk.
//!
//! ```text
//! apply ─▶ memtable ─(full, or a snapshot is wanted)─▶ sealed ─▶ flush thread ─▶ run ─┐ ROOT
//!                                                        runs ─▶ merge thread ─▶ run ─┘
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use openraft::RaftTypeConfig;
use tokio::sync::oneshot;

use super::change::Change;
use crate::raft::snapshot_source::Durable;
use super::version::{Layers, Pinned};
use super::memtable::Memtable;
use super::merge_operator::{ApplicationMerge, MergeOperator};
use crate::raft::position::Position;
use super::manifest::{ROOT, Root};
use super::table::{FinishedRun, RunRecord, StateRun, StateRunWriter};
use super::work::Work;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
use crate::observer::{Db, StallCause};
use crate::options::Options;

const RUN: &str = "run-";
/// Memtables that wait to be written to disk; when one more is full, applying waits.
pub(crate) const MAX_SEALED_MEMTABLES: usize = 2;
/// With so many runs a flush waits for a merge: each costs every read a look.
pub(crate) const MAX_RUNS: usize = 64;
/// A wait that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// Invariants: `root` is what ROOT says; `layers` has the runs of ROOT, in its order; what lies between
/// ROOT's position and the last applied entry is in `layers.sealed` and `layers.active`. Locks are taken in the
/// order `root`, `work`, `layers`.
pub(crate) struct Store<C: RaftTypeConfig> {
    dir: PathBuf,
    pub(crate) disk: GuardedDisk,
    pub(crate) factory: Arc<dyn EngineFactory>,
    memtable_bytes: usize,
    next_run: AtomicU64,
    root: Mutex<Root<C>>,
    layers: RwLock<Arc<Layers>>,
    work: Mutex<Work<C>>,
    changed: Condvar,
    /// How often the state was replaced by a snapshot: what was begun before does not count after.
    epoch: AtomicU64,
}

impl<C: RaftTypeConfig> Store<C> {
    /// Opens the state in `dir`; creates it if `may_create`.
    pub(crate) fn open(
        dir: &Path,
        disk: GuardedDisk,
        factory: Arc<dyn EngineFactory>,
        options: &Options,
        merge: ApplicationMerge,
        may_create: bool,
    ) -> Result<Self, StorageError> {
        disk.create_dir(dir)?;
        let root = match Root::<C>::read(&disk, dir)? {
            Some(root) => root,
            None if may_create => {
                let root = Root::empty();
                root.replace(&disk, dir)?;
                root
            }
            None => return Err(disk.damaged(&dir.join(ROOT), "missing").into()),
        };
        let open = |record: &RunRecord| {
            let path = dir.join(run_name(record.number));
            if !factory.exists(&path)? {
                return Err(StorageError::from(disk.damaged(&path, "missing, although ROOT names it")));
            }
            Ok(Arc::new(StateRun::open(&factory, &disk, path, *record)?))
        };
        let runs = root.runs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let named = root.runs.iter().map(|record| record.number);
        let there = disk.list(dir)?.iter().filter_map(|name| run_number(name)).collect::<Vec<_>>();
        let greatest = named.chain(there).max().unwrap_or(0);
        let active = Arc::new(Memtable::new(1, root.position.applied_index()));
        let operator = MergeOperator::new(merge, &disk, dir);
        Ok(Self {
            dir: dir.to_owned(),
            disk,
            factory,
            memtable_bytes: options.memtable_bytes,
            next_run: greatest.saturating_add(1).into(),
            root: Mutex::new(root),
            layers: RwLock::new(Arc::new(Layers { active, sealed: Vec::new(), runs, operator })),
            work: Mutex::new(Work::new()),
            changed: Condvar::new(),
            epoch: AtomicU64::new(0),
        })
    }

    /// Removes every run that does not count. To be called before anything is written, and once what counts has been
    /// found good: if ROOT is wrong, this removes the state.
    pub(crate) fn remove_garbage(&self) -> Result<(), StorageError> {
        let root = self.lock_root();
        for name in self.disk.list(&self.dir)? {
            let is_garbage = |number| root.runs.iter().all(|record| record.number != number);
            if run_number(&name).is_some_and(is_garbage) {
                self.disk.delete_dir(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    pub(crate) fn lock_root(&self) -> MutexGuard<'_, Root<C>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn work(&self) -> MutexGuard<'_, Work<C>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the work, or the runs, have changed.
    pub(crate) fn wait<'a>(&'a self, work: MutexGuard<'a, Work<C>>) -> MutexGuard<'a, Work<C>> {
        self.changed.wait(work).unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for so long at most.
    pub(crate) fn wait_for<'a>(
        &'a self,
        work: MutexGuard<'a, Work<C>>,
        at_most: Duration,
    ) -> MutexGuard<'a, Work<C>> {
        self.changed.wait_timeout(work, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn notify(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn layers(&self) -> Arc<Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_layers(&self, change: impl FnOnce(&mut Layers)) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut layers));
    }

    /// The state as it is now.
    pub(crate) fn pin(&self) -> Pinned {
        Pinned::new(self.layers())
    }

    /// What is durable: the state at ROOT's position.
    pub(crate) fn durable(&self) -> Durable<C> {
        self.durable_of(&self.lock_root())
    }

    fn durable_of(&self, root: &Root<C>) -> Durable<C> {
        let layers = self.layers();
        Durable {
            position: root.position.clone(),
            runs: layers.runs.clone(),
            operator: layers.operator.clone(),
        }
    }

    /// How far the state on disk is.
    pub(crate) fn durable_position(&self) -> Position<C> {
        self.lock_root().position.clone()
    }

    /// Where the runs are that count.
    pub(crate) fn counting_dirs(&self) -> Vec<PathBuf> {
        self.layers().runs.iter().map(|run| run.dir.clone()).collect()
    }

    pub(crate) fn operator(&self) -> Arc<MergeOperator> {
        self.layers().operator.clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Starts writing a run that does not count yet.
    pub(crate) fn new_run(&self, disk: &GuardedDisk) -> Result<StateRunWriter, StorageError> {
        let number = self.next_run.fetch_add(1, Ordering::Relaxed);
        StateRunWriter::create(&self.factory, disk, self.dir.join(run_name(number)), number)
    }

    /// Adds the changes of an apply batch up to log index `at`. `false`: the memtable is full and is to be sealed.
    pub(crate) fn apply(&self, changes: BTreeMap<Vec<u8>, Change>, at: u64) -> Result<bool, StorageError> {
        let layers = self.layers();
        layers.active.apply(changes, at, &layers.operator)?;
        Ok(layers.active.bytes() < self.memtable_bytes)
    }

    /// Lets go of the active memtable, which is complete up to `position`, and begins another. Waits while too many are
    /// on their way to the disk.
    pub(crate) fn seal(&self, position: Position<C>) -> Result<(), StorageError> {
        let started = Instant::now();
        let mut waited_for_merge = false;
        let mut work = self.work();
        while work.sealed.len() >= MAX_SEALED_MEMTABLES {
            waited_for_merge |= self.layers().runs.len() >= MAX_RUNS;
            self.disk.health.check()?;
            if work.flush_ended {
                return Err(StorageError::Closed);
            }
            work = self.wait(work);
        }
        let waited = started.elapsed();
        if waited >= STALL {
            let cause = if waited_for_merge { StallCause::Merge } else { StallCause::Flush };
            self.disk.observer().stalled(Db::State, cause, waited);
        }
        self.change_layers(|layers| {
            let next = Memtable::new(layers.active.number + 1, position.applied_index());
            let sealed = std::mem::replace(&mut layers.active, Arc::new(next));
            work.sealed.push((sealed.clone(), position));
            layers.sealed.insert(0, sealed);
        });
        drop(work);
        self.notify();
        Ok(())
    }

    /// Answers the state as of the last seal, once it is durable; at once if it is. Called by the thread that seals.
    pub(crate) fn when_durable(&self) -> oneshot::Receiver<Durable<C>> {
        let (durable, wait) = oneshot::channel();
        let mut work = self.work();
        match work.sealed.last().map(|(memtable, _)| memtable.number) {
            // The flush thread ends with a fault, and has told everybody who waited then.
            Some(_) if work.flush_ended => {}
            Some(memtable) => work.wait_for(memtable, durable),
            None => {
                drop(work);
                // Nothing is sealed meanwhile. Not with every call: ROOT is locked while a merge replaces it.
                drop(durable.send(self.durable()));
            }
        }
        wait
    }

    /// A sealed memtable has become a run, or has had no changes. Does nothing if the state was replaced since `epoch`.
    pub(crate) fn commit_flush(
        &self,
        memtable: &Arc<Memtable>,
        position: &Position<C>,
        run: Option<FinishedRun>,
        epoch: u64,
    ) -> Result<(), StorageError> {
        let run = run.map(|run| Ok::<_, StorageError>(Arc::new(run.open(&self.factory)?))).transpose()?;
        let mut root = self.lock_root();
        if self.epoch() != epoch {
            self.give_up(run);
            return Ok(());
        }
        let records = run.iter().map(|run| run.record).chain(root.runs.iter().copied());
        let next = Root { position: position.clone(), runs: records.collect() };
        next.replace(&self.disk, &self.dir)?;
        *root = next;
        self.change_layers(|layers| {
            layers.runs.splice(0..0, run);
            layers.sealed.retain(|sealed| sealed.number != memtable.number);
        });
        let durable = self.durable_of(&root);
        let mut work = self.work();
        work.retired.push(memtable.clone());
        work.sealed.retain(|(sealed, _)| sealed.number != memtable.number);
        work.tell(&durable, memtable.number);
        drop(work);
        self.notify();
        Ok(())
    }

    /// Some runs have become one, or none if nothing is left of them. Does nothing if the state was replaced since
    /// `epoch`.
    pub(crate) fn commit_merge(
        &self,
        merged: &[Arc<StateRun>],
        run: Option<FinishedRun>,
        epoch: u64,
    ) -> Result<(), StorageError> {
        let run = run.map(|run| Ok::<_, StorageError>(Arc::new(run.open(&self.factory)?))).transpose()?;
        let mut root = self.lock_root();
        if self.epoch() != epoch {
            self.give_up(run);
            return Ok(());
        }
        let mut runs = self.layers().runs.clone();
        let first = merged.first().map(|run| run.record.number);
        let Some(start) = runs.iter().position(|run| Some(run.record.number) == first) else {
            self.give_up(run);
            return Ok(());
        };
        let range = start..start + merged.len();
        let is_same = |(now, merged): (&Arc<StateRun>, _)| Arc::ptr_eq(now, merged);
        let are_there = runs.get(range.clone()).is_some_and(|now| now.iter().zip(merged).all(is_same));
        assert!(are_there, "runs that are merged are neighbours until they are one");
        runs.splice(range, run);
        let records = runs.iter().map(|run| run.record).collect();
        let next = Root { position: root.position.clone(), runs: records };
        next.replace(&self.disk, &self.dir)?;
        *root = next;
        self.change_layers(|layers| layers.runs = runs);
        self.work().obsolete.extend_from_slice(merged);
        self.notify();
        Ok(())
    }

    /// Replaces the state by a complete run at `position`; durable when it returns. Nothing may be applied meanwhile.
    pub(crate) fn install(&self, run: FinishedRun, position: Position<C>) -> Result<(), StorageError> {
        let run = Arc::new(run.open(&self.factory)?);
        let mut root = self.lock_root();
        let next = Root { position, runs: vec![run.record] };
        next.replace(&self.disk, &self.dir)?;
        *root = next;
        let mut work = self.work();
        // Who looks for work must not find that of the old state in the new epoch.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.change_layers(|layers| {
            work.obsolete.append(&mut layers.runs);
            layers.runs.push(run);
            work.retired.append(&mut layers.sealed);
            let number = layers.active.number + 1;
            let active = Arc::new(Memtable::new(number, root.position.applied_index()));
            work.retired.push(std::mem::replace(&mut layers.active, active));
        });
        work.sealed.clear();
        let durable = self.durable_of(&root);
        work.tell(&durable, u64::MAX);
        drop(work);
        self.notify();
        Ok(())
    }

    /// Gives back the memory of memtables that nobody reads any more.
    pub(crate) fn free_unread(&self) {
        let unread = self.work().take_unread();
        drop(unread);
    }

    /// A run that came too late. Nothing else may happen for a long time, so whoever removes it is told.
    fn give_up(&self, run: Option<Arc<StateRun>>) {
        self.work().obsolete.extend(run);
        self.notify();
    }

    /// Removes the runs that nobody reads any more.
    pub(crate) fn remove_obsolete(&self) {
        let mut work = self.work();
        let all = std::mem::take(&mut work.obsolete);
        // Only readers that have it can make another handle of an obsolete run.
        let (unused, used) = all.into_iter().partition::<Vec<_>, _>(|run| Arc::strong_count(run) == 1);
        work.obsolete = used;
        drop(work);
        for run in unused {
            let dir = run.dir.clone();
            drop(run);
            // A failure has been latched; what is left is removed at the next start.
            let _ = self.disk.delete_dir(&dir);
        }
    }

    /// One of the threads has ended: because the store is stopped, or with a fault, after which the other ends, too.
    pub(crate) fn worker_has_ended(&self) {
        let mut work = self.work();
        if work.sealed.is_empty() || self.disk.health.check().is_err() {
            work.end();
        }
        drop(work);
        self.notify();
    }

    /// Everything sealed gets durable, and then both threads end.
    pub(crate) fn stop(&self) {
        self.work().stop = true;
        self.notify();
    }
}

/// The name of a run's directory.
pub(crate) fn run_name(number: u64) -> String {
    format!("{RUN}{number}")
}

/// The number in a run's name.
pub(crate) fn run_number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix(RUN)?.parse().ok()
}
