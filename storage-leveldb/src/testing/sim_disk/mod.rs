//! A disk in memory with the manners of a real one.
//!
//! What was not synced may survive a power failure or not:
//! - each unsynced write on its own: whole, torn at any byte, with some of its sectors, as length
//!   without data (which reads as zeros), or not at all; a later one can be there and an earlier
//!   one not; one that replaces reserved zeros leaves zeros where it is lost;
//! - each unsynced creation, rename, deletion and new directory on its own, a rename never by half;
//!   a file whose directory did not survive is gone whatever was synced in it;
//! - emptying a file that exists, together with the writes after it.
//!
//! A top-level directory stands for a mount point: it is there as soon as it is created.
//!
//! Beside power it can lose single operations ([`Failure`], [`ReadFailure`]), run full, and be
//! damaged by hand. A copy costs little ([`SimDisk::copy`]): content is shared until it changes.
//!
//! ```
//! use std::path::Path;
//! use storage_leveldb::testing::disk::Disk;
//! use storage_leveldb::testing::{SimDisk, Survival};
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = SimDisk::default();
//! disk.create_dir(Path::new("mnt"))?;
//! let mut file = disk.create(Path::new("mnt/file"))?;
//! file.write_all(b"synced")?;
//! file.sync()?;
//! disk.sync_dir(Path::new("mnt"))?;
//! file.write_all(b", not synced")?;
//! assert_eq!(disk.reboot(Survival::Nothing).read(Path::new("mnt/file")).unwrap(), b"synced");
//! # Ok(())
//! # }
//! ```

mod damage;
mod failure;
mod file;
mod operation;
mod state;
mod survival;
mod tree;

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::failure::{Failure, ReadFailure};
pub use self::operation::OperationKind;
pub use self::state::Moment;
pub use self::survival::Survival;

use self::state::State;
use self::tree::FileId;
use crate::disk::{Disk, ReadFile, WriteFile};

/// A simulated disk. Cheap to clone; all clones are one disk.
///
/// Invariant: [`reboot`](Self::reboot) never loses what a successful sync covered.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl Moment<'_> {
    /// A copy of the disk at this moment, unsynced changes included.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        SimDisk::from_state(self.state.copy())
    }
}

impl SimDisk {
    fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations have changed or synced anything.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().changes.done
    }

    /// How many operations have read anything.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.state().reads.done
    }

    /// Makes the `at`-th operation that changes or syncs something fail; the first is 1.
    pub fn fail_at(&self, at: u64, failure: Failure) {
        self.state().changes.failing = Some((at, failure));
    }

    /// Makes the `at`-th operation that reads fail; the first is 1.
    pub fn fail_read_at(&self, at: u64, failure: ReadFailure) {
        self.state().reads.failing = Some((at, failure));
    }

    /// Whether anything has failed that was made to: an operation has been reached, or the disk has
    /// been full.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let state = self.state();
        state.changes.struck || state.reads.struck
    }

    /// From now on all files together hold at most this much: the write that exceeds it writes what
    /// fits and answers [`StorageFull`](io::ErrorKind::StorageFull).
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// Whether the power has failed.
    #[must_use]
    pub fn power_is_off(&self) -> bool {
        self.state().power_is_off
    }

    /// Shows every operation that changes or syncs something to `watcher`, in the middle of it. The
    /// disk is locked meanwhile: `watcher` must not use it, but for [`Moment::copy`].
    pub fn watch(&self, watcher: impl Fn(&Moment<'_>) + Send + Sync + 'static) {
        self.state().watcher = Some(Arc::new(watcher));
    }

    /// A copy as it is, unsynced changes included, on which nothing is made to fail.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::from_state(self.state().copy())
    }

    /// What is left after a power failure now, as a new disk.
    #[must_use]
    pub fn reboot(&self, survival: Survival) -> Self {
        Self::from_state(self.state().reboot(survival))
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = self.state().change(OperationKind::Create, path, |state| {
            if let Ok(file) = state.tree.file(path) {
                state.file_mut(file)?.empty();
                return Ok(file);
            }
            let file = state.new_file();
            state.tree.set(path, file)?;
            Ok(file)
        })?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let mut state = self.state();
        state.look()?;
        let file = state.tree.file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().change(OperationKind::Rename, to, |state| state.tree.rename(from, to))
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        state.tree.file(path)?;
        state.change(OperationKind::Delete, path, |state| state.tree.remove(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        if state.tree.has_dir(path) {
            return Ok(());
        }
        state.change(OperationKind::CreateDir, path, |state| state.tree.create_dirs(path))
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        if !state.tree.has_dir(path) {
            return Ok(());
        }
        state.change(OperationKind::DeleteDir, path, |state| state.tree.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state().sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.look()?;
        state.tree.list(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.look()?;
        let file = state.tree.file(path)?;
        Ok(state.file(file)?.len() as u64)
    }

    /// A number that no two files share, nor a file and one that was [put back](Self::put_back)
    /// from another disk.
    fn born(&self, path: &Path) -> io::Result<Option<u64>> {
        let mut state = self.state();
        state.look()?;
        Ok(Some(state.tree.file(path)? as u64))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !self.state().locks.insert(path.to_owned()) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    file: FileId,
}

impl WriteFile for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.state().write(self.file, &self.path, bytes)
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.disk.state().reserve(self.file, &self.path, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.state().sync(self.file, &self.path)
    }
}

impl ReadFile for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let short = state.read()?;
        let content = state.file(self.file)?.content();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let source = content.get(start..).unwrap_or_default();
        let could = source.len().min(buf.len());
        let n = if short { could / 2 } else { could };
        for (slot, byte) in buf.iter_mut().zip(source.iter().take(n)) {
            *slot = *byte;
        }
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.look()?;
        Ok(state.file(self.file)?.len() as u64)
    }
}
