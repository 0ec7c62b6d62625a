//! The tree, shared between the thread that applies, the threads that read, and those that write it
//! to disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::change::Change;
use super::manifest::{Frontier, MANIFEST, Manifest};
use super::memtable::Memtable;
use super::merge_operator::{MergeFunction, MergeOperator};
use super::table::{FinishedTable, StateTable, StateTableWriter, TableRecord, table_dir, table_number};
use super::version::{Checkpoint, PinnedVersion, Version};
use super::work::Work;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;
use crate::monitor::Monitor;
use crate::observer::{Db, StallCause};
use crate::owned_thread::OwnedThread;

/// Memtables that wait to be written to disk; when one more is full, applying waits.
pub(crate) const MAX_SEALED_MEMTABLES: usize = 2;
/// With so many tables a flush waits for a compaction: each costs every read a look.
pub(crate) const MAX_TABLES: usize = 64;
/// Threads that make tables which nothing waits for any more: as many snapshots as may be broken
/// off while the disk hangs before a thread of the runtime waits for it.
const MAX_ENDING_THREADS: usize = 16;
/// A wait that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// Invariants: `manifest` is what MANIFEST says; `version` has the frontier and the tables of
/// MANIFEST, in its order, or of the one before it while it is locked; the changes between
/// MANIFEST's frontier and the last applied one are in `version.sealed` and `version.active`. Locks
/// are taken in the order `manifest`, `work`, `version`. `manifest` is locked while the disk works,
/// the others for memory operations only.
pub(crate) struct LsmTree {
    dir: PathBuf,
    pub(crate) disk: GuardedDisk,
    factory: Arc<dyn EngineFactory>,
    memtable_bytes: usize,
    next_table: AtomicU64,
    manifest: Mutex<Manifest>,
    version: RwLock<Arc<Version>>,
    pub(super) work: Monitor<Work>,
    /// How often the tree was replaced as a whole: what was begun before does not count after.
    epoch: AtomicU64,
}

impl LsmTree {
    /// Opens the tree in `dir`; creates it if `may_create`.
    pub(crate) fn open(
        dir: &Path,
        disk: GuardedDisk,
        factory: Arc<dyn EngineFactory>,
        memtable_bytes: usize,
        merge: MergeFunction,
        may_create: bool,
    ) -> Result<Self, StorageError> {
        disk.create_dir(dir)?;
        let manifest = match Manifest::read(&disk, dir)? {
            Some(manifest) => manifest,
            None if may_create => {
                let manifest = Manifest::default();
                manifest.replace(&disk, dir)?;
                manifest
            }
            None => return Err(disk.damaged(&dir.join(MANIFEST), "missing").into()),
        };
        let open = |record: &TableRecord| {
            let path = dir.join(table_dir(record.number));
            if !factory.exists(&path)? {
                return Err(StorageError::from(disk.damaged(&path, "missing, although MANIFEST names it")));
            }
            Ok(Arc::new(StateTable::open(&factory, &disk, path, *record)?))
        };
        let tables = manifest.tables.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let named = manifest.tables.iter().map(|record| record.number);
        let there = disk.list(dir)?.iter().filter_map(|name| table_number(name)).collect::<Vec<_>>();
        let greatest = named.chain(there).max().unwrap_or(0);
        let no_more = || disk.damaged(dir, format!("table {greatest} is the last there can be"));
        let next_table = greatest.checked_add(1).ok_or_else(no_more)?;
        let frontier = manifest.frontier.clone();
        let active = Arc::new(Memtable::new(1, frontier.sequence));
        let operator = MergeOperator::new(merge, &disk, dir);
        let version = Version { active, sealed: Vec::new(), tables, frontier, operator };
        Ok(Self {
            dir: dir.to_owned(),
            disk,
            factory,
            memtable_bytes,
            next_table: next_table.into(),
            manifest: Mutex::new(manifest),
            version: RwLock::new(Arc::new(version)),
            work: Monitor::default(),
            epoch: AtomicU64::new(0),
        })
    }

    /// Removes every table that does not count. To be called before anything is written, and once
    /// what counts has been found good: if MANIFEST is wrong, this removes the tree.
    pub(crate) fn remove_garbage(&self) -> Result<(), StorageError> {
        let manifest = self.lock_manifest();
        for name in self.disk.list(&self.dir)? {
            let is_garbage = |number| manifest.tables.iter().all(|record| record.number != number);
            if table_number(&name).is_some_and(is_garbage) {
                self.disk.delete_dir(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    fn lock_manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn version(&self) -> Arc<Version> {
        self.version.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_version(&self, change: impl FnOnce(&mut Version)) {
        let mut version = self.version.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut version));
    }

    /// The tree as it is now.
    pub(crate) fn pin(&self) -> PinnedVersion {
        PinnedVersion::new(self.version())
    }

    /// What is durable: the tree at its frontier.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let version = self.version();
        Checkpoint {
            frontier: version.frontier.clone(),
            tables: version.tables.clone(),
            operator: version.operator.clone(),
        }
    }

    /// Where the tables are that count.
    pub(crate) fn live_dirs(&self) -> Vec<PathBuf> {
        self.version().tables.iter().map(|table| table.dir.clone()).collect()
    }

    pub(super) fn operator(&self) -> Arc<MergeOperator> {
        self.version().operator.clone()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Starts writing a table that does not count yet.
    pub(crate) fn new_table(&self, disk: &GuardedDisk) -> Result<StateTableWriter, StorageError> {
        let number = self.next_table.fetch_add(1, Ordering::Relaxed);
        StateTableWriter::create(&self.factory, disk, self.dir.join(table_dir(number)), number)
    }

    /// Adds the changes of a batch. `false`: the memtable is full and is to be sealed.
    pub(crate) fn apply(
        &self,
        changes: BTreeMap<Vec<u8>, Change>,
        sequence: u64,
    ) -> Result<bool, StorageError> {
        let version = self.version();
        version.active.apply(changes, sequence, &version.operator).map_err(|e| self.latched(e))?;
        Ok(version.active.bytes() < self.memtable_bytes)
    }

    /// Lets go of the active memtable, which is complete up to `frontier`, and begins another.
    /// Waits while too many are on their way to the disk.
    pub(crate) fn seal(&self, frontier: Frontier) -> Result<(), StorageError> {
        let started = Instant::now();
        let mut waited_for_compaction = false;
        let mut work = self.work.lock();
        while work.sealed.len() >= MAX_SEALED_MEMTABLES {
            waited_for_compaction |= self.version().tables.len() >= MAX_TABLES;
            self.disk.health.check()?;
            if work.flush_ended {
                return Err(StorageError::Closed);
            }
            work = self.work.wait(work);
        }
        let waited = started.elapsed();
        if waited >= STALL {
            let cause = if waited_for_compaction { StallCause::Compaction } else { StallCause::Flush };
            self.disk.observer().stalled(Db::State, cause, waited);
        }
        self.change_version(|version| {
            debug_assert!(version.active.published() <= frontier.sequence, "a frontier covers its memtable");
            let next = Memtable::new(version.active.number + 1, frontier.sequence);
            let sealed = std::mem::replace(&mut version.active, Arc::new(next));
            work.sealed.push((sealed.clone(), frontier));
            version.sealed.insert(0, sealed);
        });
        drop(work);
        self.work.notify();
        Ok(())
    }

    /// Answers the tree as of the last seal, once it is durable; at once if it is. Called by the
    /// thread that seals.
    pub(crate) fn when_durable(&self) -> oneshot::Receiver<Checkpoint> {
        let (checkpoint, wait) = oneshot::channel();
        let mut work = self.work.lock();
        match work.sealed.last().map(|(memtable, _)| memtable.number) {
            // The flush thread has ended with a fault, and answered every waiter then.
            Some(_) if work.flush_ended => {}
            Some(memtable) => work.wait_for(memtable, checkpoint),
            None => {
                // Nothing is sealed meanwhile.
                drop(work);
                drop(checkpoint.send(self.checkpoint()));
            }
        }
        wait
    }

    /// Replaces MANIFEST, in memory once it is durable on disk.
    fn replace(&self, manifest: &mut Manifest, next: Manifest) -> Result<(), StorageError> {
        next.replace(&self.disk, &self.dir)?;
        *manifest = next;
        Ok(())
    }

    /// A sealed memtable has become a table, or has had no changes. Does nothing if the tree was
    /// replaced since `epoch`.
    pub(super) fn commit_flush(
        &self,
        memtable: &Arc<Memtable>,
        frontier: Frontier,
        table: Option<FinishedTable>,
        epoch: u64,
    ) -> Result<(), StorageError> {
        let table = table.map(|table| table.open(&self.factory).map(Arc::new)).transpose()?;
        let mut manifest = self.lock_manifest();
        if self.epoch() != epoch {
            self.give_up(table);
            return Ok(());
        }
        let records = table.iter().map(|table| table.record).chain(manifest.tables.iter().copied()).collect();
        self.replace(&mut manifest, Manifest::new(frontier, records))?;
        self.change_version(|version| {
            version.tables.splice(0..0, table);
            version.frontier = manifest.frontier.clone();
            version.sealed.retain(|sealed| sealed.number != memtable.number);
        });
        let checkpoint = self.checkpoint();
        let mut work = self.work.lock();
        work.retired.push(memtable.clone());
        work.sealed.retain(|(sealed, _)| sealed.number != memtable.number);
        work.tell(&checkpoint, memtable.number);
        drop(work);
        self.work.notify();
        Ok(())
    }

    /// Some tables have become one, or none if nothing is left of them. Does nothing if the tree
    /// was replaced since `epoch`.
    pub(super) fn commit_compaction(
        &self,
        inputs: &[Arc<StateTable>],
        output: Option<FinishedTable>,
        epoch: u64,
    ) -> Result<(), StorageError> {
        let output = output.map(|table| table.open(&self.factory).map(Arc::new)).transpose()?;
        let mut manifest = self.lock_manifest();
        if self.epoch() != epoch {
            self.give_up(output);
            return Ok(());
        }
        let mut tables = self.version().tables.clone();
        let first = inputs.first().map(|table| table.record.number);
        let Some(start) = tables.iter().position(|table| Some(table.record.number) == first) else {
            self.give_up(output);
            return Ok(());
        };
        let range = start..start + inputs.len();
        let is_same = |(now, input): (&Arc<StateTable>, _)| Arc::ptr_eq(now, input);
        let are_there = tables.get(range.clone()).is_some_and(|now| now.iter().zip(inputs).all(is_same));
        assert!(are_there, "tables that are compacted are neighbours until they are one");
        tables.splice(range, output);
        let records = tables.iter().map(|table| table.record).collect();
        let next = Manifest::new(manifest.frontier.clone(), records);
        self.replace(&mut manifest, next)?;
        self.change_version(|version| version.tables = tables);
        self.work.lock().obsolete.extend_from_slice(inputs);
        self.work.notify();
        Ok(())
    }

    /// Replaces all of the tree by a complete table at `frontier`; durable when it returns. Nothing
    /// may be applied meanwhile.
    pub(crate) fn install(&self, table: FinishedTable, frontier: Frontier) -> Result<(), StorageError> {
        let table = Arc::new(table.open(&self.factory)?);
        let mut manifest = self.lock_manifest();
        self.replace(&mut manifest, Manifest::new(frontier, vec![table.record]))?;
        let mut work = self.work.lock();
        // A thread that looks for work must not find that of the old tree in the new epoch.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.change_version(|version| {
            work.obsolete.append(&mut version.tables);
            version.tables.push(table);
            version.frontier = manifest.frontier.clone();
            work.retired.append(&mut version.sealed);
            let active = Memtable::new(version.active.number + 1, manifest.frontier.sequence);
            work.retired.push(std::mem::replace(&mut version.active, Arc::new(active)));
        });
        work.sealed.clear();
        let checkpoint = self.checkpoint();
        work.tell(&checkpoint, u64::MAX);
        drop(work);
        self.work.notify();
        Ok(())
    }

    /// Gives back the memory of memtables that have no reader any more.
    pub(super) fn free_unread(&self) {
        let unread = self.work.lock().take_unread();
        drop(unread);
    }

    /// A table that came too late. Nothing else may happen for a long time, so the compaction
    /// thread, which removes it, is woken.
    fn give_up(&self, table: Option<Arc<StateTable>>) {
        self.work.lock().obsolete.extend(table);
        self.work.notify();
    }

    /// Removes the tables that have no reader any more.
    pub(super) fn remove_obsolete(&self) {
        let unused = self.work.lock().take_unused();
        for table in unused {
            let dir = table.dir.clone();
            drop(table);
            // A failure has been latched; what is left is removed at the next start.
            let _ = self.disk.delete_dir(&dir);
        }
    }

    /// One of the threads has ended: because the tree is stopped, or with a fault, after which the
    /// other ends, too.
    pub(crate) fn worker_has_ended(&self) {
        let mut work = self.work.lock();
        if work.sealed.is_empty() || self.disk.health.check().is_err() {
            work.end();
        }
        drop(work);
        self.work.notify();
    }

    /// Everything sealed becomes durable, and then both threads end. Waits for those that make
    /// tables which nothing waits for: once a tree is stopped, nothing writes to it.
    pub(crate) fn stop(&self) {
        let ending = self.work.change(|work| {
            work.stop = true;
            std::mem::take(&mut work.ending)
        });
        drop(ending);
    }

    /// A thread that makes a table which nothing waits for any more. It is waited for when the tree
    /// is stopped; now if that has been, or if there are too many.
    pub(crate) fn wait_at_stop(&self, thread: OwnedThread) {
        let mut work = self.work.lock();
        work.ending.retain(|ending| !ending.has_ended());
        if !work.stop && work.ending.len() < MAX_ENDING_THREADS {
            work.ending.push(thread);
            return;
        }
        drop(work);
        drop(thread);
    }

    /// What must hold between two applies; the flush and the compaction thread may work.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        let manifest = self.lock_manifest();
        let work = self.work.lock();
        let version = self.version();
        let memtables = || std::iter::once(&version.active).chain(&version.sealed);
        memtables().try_for_each(|memtable| memtable.check_invariants())?;
        let named = manifest.tables.iter().copied();
        let waiting = work.sealed.iter().rev().map(|(memtable, _)| memtable.number);
        let sealed = version.sealed.iter().map(|memtable| memtable.number);
        let frontiers = [&manifest.frontier].into_iter().chain(work.sealed.iter().map(|(_, at)| at));
        let next_table = self.next_table.load(Ordering::Relaxed);
        all_hold(&[
            ("the frontier is that of MANIFEST", version.frontier == manifest.frontier),
            ("the tables are those of MANIFEST", version.tables.iter().map(|table| table.record).eq(named)),
            ("numbers of tables grow", manifest.tables.iter().all(|table| table.number < next_table)),
            ("what is sealed waits to be written", sealed.eq(waiting)),
            (
                "newer memtables have greater numbers",
                memtables().map(|memtable| memtable.number).is_sorted_by(|a, b| a > b),
            ),
            (
                "newer memtables are further than MANIFEST",
                frontiers.map(|frontier| frontier.sequence).is_sorted(),
            ),
        ])
    }
}
