//! Whether a data directory is still where it was.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::LOCK_FILE;

/// Where a data directory lies on the disk, whatever its name leads to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Directories, outermost first, each with the place of the lock in it: while that is open,
    /// which it is as long as the node runs, no other file can have its place.
    locked: Vec<(Place, PathBuf)>,
    /// Directories without a lock.
    inner: [PathBuf; 2],
}

/// Device and number.
type Place = (u64, u64);

fn place(path: &Path) -> io::Result<Place> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// An error in looking is no answer.
fn is_gone<T>(looked: &io::Result<T>) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(looked, Err(e) if matches!(e.kind(), NotFound | NotADirectory))
}

impl Fingerprint {
    pub(super) fn of(data_dir: &Path, storage: &Path) -> Self {
        let locked = [data_dir, storage].into_iter();
        let locked = locked.filter_map(|dir| Some((place(&dir.join(LOCK_FILE)).ok()?, dir.to_owned())));
        Self { locked: locked.collect(), inner: [storage.join("log"), storage.join("state")] }
    }

    /// Which directory is gone or another one, the outermost, and in which way.
    #[must_use]
    pub fn changed(&self) -> Option<(PathBuf, &'static str)> {
        let dirs = self.locked.iter().map(|(place, dir)| (Some(*place), dir));
        let dirs = dirs.chain(self.inner.iter().map(|dir| (None, dir)));
        dirs.filter_map(|(lock, dir)| Some((dir.clone(), change(dir, lock)?))).next()
    }
}

fn change(dir: &Path, lock: Option<Place>) -> Option<&'static str> {
    if is_gone(&place(dir)) {
        return Some("removed or moved away");
    }
    let is = lock.map(|was| (was, place(&dir.join(LOCK_FILE))));
    let is_another = is.is_some_and(|(was, is)| is_gone(&is) || is.is_ok_and(|is| is != was));
    is_another.then_some("emptied or replaced by another")
}
