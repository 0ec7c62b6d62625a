//! A disk behind the error latch: the only way the rest of the crate reaches a [`Disk`].

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Disk, ReadFile, WriteFile, create_dir_durably};
use crate::health::{Fault, FaultKind, Health};
use crate::observer::{Db, Observer};

thread_local! {
    static SYNCING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long this thread has waited for files and directories to be synced, ever.
pub(crate) fn time_syncing() -> Duration {
    SYNCING.get()
}

/// Refuses every change after the first fault, latches every failure, and reports what it does.
///
/// Invariants: after [`Health::fault`] answers `Some`, no call reaches the disk to change it. A
/// missing file is an answer, not a fault: the caller decides.
#[derive(Clone)]
pub(crate) struct GuardedDisk {
    disk: Arc<dyn Disk>,
    pub(crate) health: Health,
    observer: Arc<dyn Observer>,
    db: Db,
    /// The directory's lock: held as long as anything can still write.
    _lock: Arc<dyn Any + Send + Sync>,
}

impl GuardedDisk {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        observer: Arc<dyn Observer>,
        lock: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { disk, health: Health::default(), observer, db: Db::Log, _lock: lock }
    }

    /// The same disk and latch, reporting as another part of the storage.
    pub(crate) fn for_db(&self, db: Db) -> Self {
        Self { db, ..self.clone() }
    }

    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    fn latched<T>(&self, doing: &str, path: &Path, result: io::Result<T>) -> Result<T, Fault> {
        result.map_err(|e| self.latch(Fault::io(doing, path, e)))
    }

    /// A call that changes the disk: not made after a fault, known while it has not returned,
    /// latched if it fails.
    fn change<T>(
        &self,
        doing: &'static str,
        path: &Arc<Path>,
        call: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, Fault> {
        self.health.check()?;
        let pending = self.health.calls().begin(doing, path);
        let result = call();
        drop(pending);
        self.latched(doing, path, result)
    }

    pub(crate) fn create(&self, path: &Path) -> Result<GuardedFile, Fault> {
        let path: Arc<Path> = path.into();
        let file = self.change("create", &path, || self.disk.create(&path))?;
        Ok(GuardedFile { file, path, name_is_durable: false, disk: self.clone() })
    }

    /// `None`: there is no such file.
    pub(crate) fn open(&self, path: &Path) -> Result<Option<Box<dyn ReadFile>>, Fault> {
        match self.disk.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => self.latched("open", path, other).map(Some),
        }
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), Fault> {
        self.change("rename", &from.into(), || self.disk.rename(from, to))?;
        self.sync_dir(to.parent().unwrap_or(to))
    }

    /// A missing file counts as deleted. The deletion is not synced: a file that comes back after a
    /// power failure is garbage that is deleted again.
    pub(crate) fn delete(&self, path: &Path) -> Result<(), Fault> {
        self.change("delete", &path.into(), || match self.disk.delete(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    /// Durable when it returns, and so are the directories above it that were missing.
    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), Fault> {
        self.change("create directory", &path.into(), || create_dir_durably(self.disk.as_ref(), path))
    }

    pub(crate) fn delete_dir(&self, path: &Path) -> Result<(), Fault> {
        self.change("delete directory", &path.into(), || self.disk.delete_dir(path))
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), Fault> {
        let started = Instant::now();
        self.change("sync directory", &path.into(), || self.disk.sync_dir(path))?;
        self.has_synced(started.elapsed());
        Ok(())
    }

    fn has_synced(&self, took: Duration) {
        SYNCING.set(SYNCING.get() + took);
        self.observer.synced(self.db, took);
    }

    /// The names in a directory; none if there is no such directory.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<PathBuf>, Fault> {
        match self.disk.list(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => self.latched("list", path, other),
        }
    }

    /// `None`: there is no such file.
    pub(crate) fn len(&self, path: &Path) -> Result<Option<u64>, Fault> {
        match self.disk.len(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => self.latched("stat", path, other).map(Some),
        }
    }

    /// When the file system made a file; see [`Disk::born`].
    pub(crate) fn born(&self, path: &Path) -> Result<Option<u64>, Fault> {
        self.latched("stat", path, self.disk.born(path))
    }

    /// Latches a fault; answers the first.
    pub(crate) fn latch(&self, fault: Fault) -> Fault {
        self.health.latch(fault)
    }

    /// Latches a failed read.
    pub(crate) fn unreadable(&self, path: &Path, error: io::Error) -> Fault {
        self.latch(Fault::io("read", path, error))
    }

    /// Latches a failed check of what was read.
    pub(crate) fn damaged(&self, path: &Path, reason: impl ToString) -> Fault {
        self.latch(Fault::corrupt(path, reason))
    }

    /// Latches that another version wrote what was read.
    pub(crate) fn other_format(&self, path: &Path, reason: impl ToString) -> Fault {
        self.latch(Fault::new(FaultKind::OtherFormat, path, reason))
    }
}

/// A file being written, behind the latch.
///
/// Invariant: when [`sync`](Self::sync) has returned `Ok`, content and name are both durable,
/// unless the name was [left](Self::leave_name) to the caller.
pub(crate) struct GuardedFile {
    file: Box<dyn WriteFile>,
    path: Arc<Path>,
    name_is_durable: bool,
    disk: GuardedDisk,
}

impl GuardedFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file has another name now, which is durable.
    pub(crate) fn was_renamed(&mut self, to: &Path) {
        self.path = to.into();
    }

    /// From now on a sync is for the content alone: the caller syncs the directory before the name
    /// counts.
    pub(crate) fn leave_name(&mut self) {
        self.name_is_durable = true;
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Self { file, path, disk, .. } = self;
        disk.change("write", path, || file.write_all(bytes))?;
        self.disk.observer.wrote(self.disk.db, bytes.len() as u64);
        Ok(())
    }

    /// See [`WriteFile::reserve`].
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), Fault> {
        self.disk.health.check()?;
        // Many writes, of which none is waited for: that it takes long does not mean that the disk
        // hangs.
        let result = self.file.reserve(bytes);
        self.disk.latched("reserve room in", &self.path, result)?;
        self.disk.observer.wrote(self.disk.db, bytes);
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> Result<(), Fault> {
        let started = Instant::now();
        let Self { file, path, disk, .. } = self;
        disk.change("sync", path, || file.sync())?;
        self.disk.has_synced(started.elapsed());
        if !self.name_is_durable {
            self.disk.sync_dir(self.path.parent().unwrap_or(&self.path))?;
            self.name_is_durable = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Silent;
    use crate::testing::{OperationKind, SimDisk};

    /// A commit that waits for a directory waits for the disk, not for LevelDB.
    #[test]
    fn syncs_of_directories_count_as_time_spent_syncing() {
        const SLOW: Duration = Duration::from_millis(5);
        let sim = SimDisk::default();
        sim.watch(|moment| {
            if matches!(moment.kind, OperationKind::Sync | OperationKind::SyncDir) {
                // The slowness itself; no test waits for it to have passed.
                std::thread::sleep(SLOW);
            }
        });
        let disk = GuardedDisk::new(Arc::new(sim), Arc::new(Silent), Arc::new(()));
        let before = time_syncing();
        disk.create_dir(Path::new("dir")).unwrap();
        disk.sync_dir(Path::new("dir")).unwrap();
        assert!(time_syncing() >= before + SLOW);
        let before = time_syncing();
        let mut file = disk.create(Path::new("dir/file")).unwrap();
        file.sync().unwrap();
        assert!(time_syncing() >= before + 2 * SLOW, "the file, and its name");
    }
}
