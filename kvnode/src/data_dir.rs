//! The data directory: made, locked, and checked to be this node's.
//!
//! Layout: `LOCK` (held while a process uses the directory), `IDENTITY` (see
//! [`identity`](crate::identity)), `storage/` (storage-leveldb's own).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::identity::{IDENTITY_FILE, IDENTITY_TEMPORARY, Identity, IdentityError, Stamp};

pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const STORAGE: &str = "storage";

/// A data directory that this process, and no other, may use.
///
/// Invariants: while this value lives, the lock is held and the stamp in the directory is the one that
/// was asked for.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    stamp: Stamp,
    // Closing the file gives up the lock.
    _lock: File,
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made, listed or written.
    #[error("cannot {action} {}; give --data-dir a directory that this user may write", path.display())]
    Io {
        /// `create`, `list`, …
        action: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("{} is in use by another kvnode process; stop it first, or give this node a data directory of its own", .0.display())]
    Locked(PathBuf),
    /// Files, but no stamp.
    #[error(
        "{} is not empty (it has '{found}') and has no IDENTITY file: it was not made by kvnode, or is damaged; give --data-dir an \
         empty or a new directory, and a damaged node a new id",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// It belongs to another node, or cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl DataDir {
    /// Makes the directory if there is none, locks it, and checks or writes its stamp.
    ///
    /// # Errors
    /// [`DataDirError`]; in a directory that is not this node's nothing has been changed but for an empty
    /// `LOCK` file.
    pub fn open(path: &Path, asked: &Identity) -> Result<Self, DataDirError> {
        create(path)?;
        // Before the lock file is made, too: nothing is written into a stranger's directory.
        refuse_foreign(path)?;
        let lock = lock(path)?;
        refuse_foreign(path)?;
        let stamp = match Stamp::read(path)? {
            Some(found) => {
                found.identity.check(path, asked)?;
                found
            }
            None => {
                let stamp = Stamp { identity: asked.clone(), stored: false };
                stamp.write(path)?;
                stamp
            }
        };
        Ok(Self { path: path.to_owned(), stamp, _lock: lock })
    }

    /// Whether the storage has been opened before.
    #[must_use]
    pub fn has_stored(&self) -> bool {
        self.stamp.stored
    }

    /// The storage has been created; durable when it returns.
    ///
    /// # Errors
    /// The stamp cannot be written.
    pub fn mark_stored(&self) -> Result<(), DataDirError> {
        if self.stamp.stored {
            return Ok(());
        }
        let stamp = Stamp { stored: true, ..self.stamp.clone() };
        Ok(stamp.write(&self.path)?)
    }

    /// Where storage-leveldb keeps its files.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.path.join(STORAGE)
    }

    /// What stays the same while the node runs, unless the directory is taken away. To be called once the
    /// storage is open.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let storage = self.storage();
        let locked = [self.path.clone(), storage.clone()];
        let locked = locked.into_iter().filter_map(|dir| Some((place(&dir.join(LOCK_FILE)).ok()?, dir)));
        Fingerprint { locked: locked.collect(), inner: [storage.join("log"), storage.join("state")] }
    }
}

/// Where a data directory lies on the disk, whatever its name leads to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Directories, outermost first, each with the place of the lock in it: while that is open, which it is
    /// as long as the node runs, no other file can have its place.
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

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

fn create(path: &Path) -> Result<(), DataDirError> {
    fs::create_dir_all(path).map_err(failed("create", path))?;
    // A new directory outlives a crash only once its parent is on disk.
    let parent = path.canonicalize().map_err(failed("find", path))?;
    match parent.parent() {
        Some(parent) => sync(parent).map_err(failed("sync", parent)),
        None => Ok(()),
    }
}

/// A parent that may be searched but not read cannot be synced, and has been there before.
fn sync(dir: &Path) -> io::Result<()> {
    match File::open(dir) {
        Ok(dir) => dir.sync_all(),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(e) => Err(e),
    }
}

fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    let mut foreign = None;
    for entry in fs::read_dir(path).map_err(failed("list", path))? {
        let name = entry.map_err(failed("list", path))?.file_name();
        match name.to_str() {
            Some(IDENTITY_FILE) => return Ok(()),
            Some(LOCK_FILE | IDENTITY_TEMPORARY | "lost+found") => {}
            _ => foreign = Some(name.to_string_lossy().into_owned()),
        }
    }
    foreign.map_or(Ok(()), |found| Err(DataDirError::Foreign { path: path.to_owned(), found }))
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join(LOCK_FILE);
    let open = File::options().create(true).truncate(false).write(true).open(&lock_path);
    let file = open.map_err(failed("write", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(e) if e == rustix::io::Errno::WOULDBLOCK => Err(DataDirError::Locked(path.to_owned())),
        Err(e) => Err(failed("lock", &lock_path)(e.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { format: 1, cluster_id: "kv".into(), node_id: 1, peers: "1=a:1/a:2".into() }
    }

    #[test]
    fn a_directory_is_made_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let new = DataDir::open(&path, &identity()).unwrap();
        assert!(!new.has_stored());
        new.mark_stored().unwrap();
        drop(new);
        assert!(DataDir::open(&path, &identity()).unwrap().has_stored());
    }

    #[test]
    fn two_processes_cannot_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let _held = DataDir::open(dir.path(), &identity()).unwrap();
        let error = DataDir::open(dir.path(), &identity()).unwrap_err();
        assert!(matches!(error, DataDirError::Locked(_)), "{error}");
    }

    #[test]
    fn a_strangers_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.doc"), "precious").unwrap();
        let error = DataDir::open(dir.path(), &identity()).unwrap_err().to_string();
        assert!(error.contains("thesis.doc") && error.contains("--data-dir"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_while_stamping_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IDENTITY_TEMPORARY), "form").unwrap();
        DataDir::open(dir.path(), &identity()).unwrap();
        assert_eq!(Stamp::read(dir.path()).unwrap().unwrap().identity, identity());
    }

    #[test]
    fn another_nodes_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), &identity()).unwrap());
        let asked = Identity { node_id: 2, ..identity() };
        let error = DataDir::open(dir.path(), &asked).unwrap_err();
        assert!(matches!(error, DataDirError::Identity(IdentityError::Mismatch { .. })), "{error}");
    }

    #[test]
    fn a_directory_that_is_taken_away_or_replaced_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("data"), dir.path().join("aside"));
        let data_dir = DataDir::open(&path, &identity()).unwrap();
        let storage = data_dir.storage();
        let make = || {
            fs::create_dir_all(storage.join("log")).unwrap();
            fs::create_dir_all(storage.join("state")).unwrap();
            File::create(storage.join(LOCK_FILE)).unwrap()
        };
        let _open = make();
        let fingerprint = data_dir.fingerprint();
        assert_eq!(fingerprint.changed(), None);
        let removed = "removed or moved away";
        for gone in [storage.join("log"), storage.clone(), path.clone()] {
            fs::rename(&gone, &aside).unwrap();
            assert_eq!(fingerprint.changed(), Some((gone.clone(), removed)));
            fs::rename(&aside, &gone).unwrap();
            assert_eq!(fingerprint.changed(), None);
        }
        fs::remove_dir_all(&storage).unwrap();
        make();
        let replaced = "emptied or replaced by another";
        assert_eq!(fingerprint.changed(), Some((storage.clone(), replaced)));
        fs::remove_file(path.join(LOCK_FILE)).unwrap();
        assert_eq!(fingerprint.changed(), Some((path.clone(), replaced)));
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::open(&path, &identity()).unwrap_err().to_string();
        assert!(error.contains("cannot create") && error.contains("--data-dir"), "{error}");
    }
}
