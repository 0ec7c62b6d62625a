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

    /// What stays the same while this value lives, unless the directory is taken away. To be called once the
    /// storage is open.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let storage = self.storage();
        let lasting = [self.path.join(LOCK_FILE), storage.join("log"), storage.join("state"), storage];
        let lasting = lasting.into_iter().chain([self.path.clone()]);
        Fingerprint(lasting.filter_map(|path| Some((place(&path).ok()?, path))).collect())
    }
}

/// Where directories and files lie on the disk, whatever their names lead to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<(Place, PathBuf)>);

/// Device and number. While a file is open, its number is no other's.
type Place = (u64, u64);

fn place(path: &Path) -> io::Result<Place> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Fingerprint {
    /// Which of them is gone or another one, and in which way: the outermost, which says most. An error in
    /// looking is no answer.
    #[must_use]
    pub fn changed(&self) -> Option<(PathBuf, &'static str)> {
        let change = |(was, path): &(Place, PathBuf)| match place(path) {
            Ok(is) if is == *was => None,
            Ok(_) => Some((path.clone(), "replaced by another")),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Some((path.clone(), "removed or moved away"))
            }
            Err(_) => None,
        };
        self.0.iter().rev().find_map(change)
    }
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
        let path = dir.path().join("data");
        let data_dir = DataDir::open(&path, &identity()).unwrap();
        fs::create_dir_all(data_dir.storage().join("log")).unwrap();
        let fingerprint = data_dir.fingerprint();
        assert_eq!(fingerprint.changed(), None);
        fs::rename(data_dir.storage(), dir.path().join("aside")).unwrap();
        assert_eq!(fingerprint.changed(), Some((data_dir.storage(), "removed or moved away")));
        fs::rename(dir.path().join("aside"), data_dir.storage()).unwrap();
        assert_eq!(fingerprint.changed(), None);
        // A new directory may get the number of the old one; a lock that is held keeps its number.
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(fingerprint.changed(), Some((path.clone(), "removed or moved away")));
        fs::create_dir_all(data_dir.storage().join("log")).unwrap();
        fs::write(path.join(LOCK_FILE), "").unwrap();
        assert!(fingerprint.changed().unwrap().1.contains("replaced"));
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
