//! A disk that notices when a directory is used.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use storage_leveldb::testing::disk::{Disk, ReadFile, RealDisk, WriteFile};

/// The operating system's files; it knows when the first and the last call for something in `dir`
/// was.
#[derive(Clone)]
pub(crate) struct WatchedDisk {
    dir: PathBuf,
    used: Arc<Mutex<Option<(Instant, Instant)>>>,
}

/// A call for something in the directory, from its making until it is dropped.
struct Use<'a>(&'a WatchedDisk, Instant);

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        let first = used.map_or(self.1, |(first, _)| first.min(self.1));
        *used = Some((first, Instant::now()));
    }
}

impl WatchedDisk {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, used: Arc::default() }
    }

    fn at(&self, path: &Path) -> Option<Use<'_>> {
        path.starts_with(&self.dir).then(|| Use(self, Instant::now()))
    }

    /// From the first call for something in the directory until the end of the last one; reads of
    /// files that are open count as the opening.
    pub(crate) fn span(&self) -> Duration {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

impl Disk for WatchedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let _used = self.at(path);
        RealDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let _used = self.at(path);
        RealDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _used = self.at(from);
        RealDisk.rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let _used = self.at(path);
        RealDisk.delete(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let _used = self.at(path);
        RealDisk.create_dir(path)
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        let _used = self.at(path);
        RealDisk.delete_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let _used = self.at(path);
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let _used = self.at(path);
        RealDisk.list(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let _used = self.at(path);
        RealDisk.len(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let _used = self.at(path);
        RealDisk.lock(path)
    }
}
