//! The data directory: made, locked, and checked to be this node's.
//!
//! Layout: `LOCK` (held while a process uses the directory), `IDENTITY` (see
//! [`identity`](crate::identity)), `storage/` (storage-leveldb's own), `REBUILDING` while a new
//! cluster is made of it ([`rebuild`](crate::rebuild)).

mod error;
mod fingerprint;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use error::DataDirError;
pub use fingerprint::Fingerprint;
use network_grpc::MemberIdentity;
use rustix::fs::{FlockOperation, flock};

use crate::config::Peers;
use crate::identity::{FORMAT_VERSION, IDENTITY_FILE, IDENTITY_TEMPORARY, Identity, IdentityError};
use crate::raft::NodeId;

/// Held while a process uses the directory.
pub const LOCK_FILE: &str = "LOCK";
/// `storage-leveldb`'s own directory.
pub const STORAGE: &str = "storage";
/// There while a new cluster is made of what the directory has, or is to have: no node starts.
pub const REBUILDING: &str = "REBUILDING";

/// Whose directory it should be.
#[derive(Debug, Clone)]
pub struct Claim {
    /// This node.
    pub node_id: NodeId,
    /// The nodes that may found a cluster with it. None: those of the first start.
    pub peers: Option<Peers>,
    /// The operator says that a copy is the newest state of a node whose original will never run
    /// again.
    pub accept_moved: bool,
}

/// A data directory that this process, and no other, may use.
///
/// Invariants: while this value lives, the lock is held, and `identity` is what the directory's
/// `IDENTITY` says; a node that belongs to a cluster never belongs to another.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Mutex<Identity>,
    // Closing the file gives up the lock.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none, locks it, and checks or writes its identity.
    ///
    /// # Errors
    /// [`DataDirError`]; in a directory that is not this node's nothing has been changed but for an
    /// empty `LOCK` file.
    pub fn open(path: &Path, claim: &Claim) -> Result<Self, DataDirError> {
        create(path)?;
        // Before the lock file is made, too: nothing is written into a stranger's directory.
        refuse_foreign(path)?;
        let lock = lock(path)?;
        refuse_foreign(path)?;
        let identity = match Identity::read(path)? {
            Some(found) => {
                let known = found.identity;
                check(path, &known, found.copied, claim)?;
                let peers = claim.peers.clone().or_else(|| known.peers.clone());
                let identity = Identity { peers, ..known.clone() };
                match identity.write(path) {
                    // Each start makes the file anew, so that an older copy of it is known by its
                    // age. A full disk may keep it from doing so.
                    Err(_) if identity == known && !found.copied => {}
                    written => written?,
                }
                identity
            }
            None => {
                let identity = Identity::new(claim.node_id, claim.peers.clone());
                identity.write(path)?;
                identity
            }
        };
        Ok(Self { path: path.to_owned(), identity: Mutex::new(identity), _lock: lock })
    }

    /// Whose it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.known().clone()
    }

    /// The storage has been created; durable when it returns.
    ///
    /// # Errors
    /// The identity cannot be written.
    pub fn mark_stored(&self) -> Result<(), DataDirError> {
        self.change(|identity| identity.stored = true)
    }

    /// The storage lacks what this node has acknowledged. It is refused from now on, whatever the
    /// operator says of it; durable when it returns.
    ///
    /// # Errors
    /// The identity cannot be written.
    pub fn mark_outdated(&self) -> Result<(), DataDirError> {
        self.change(|identity| identity.outdated = true)
    }

    /// This node belongs to a cluster from now on; durable when it returns.
    ///
    /// # Errors
    /// The identity cannot be written.
    pub fn join(&self, member: MemberIdentity) -> Result<(), DataDirError> {
        self.change(|identity| {
            debug_assert!(identity.member.is_none_or(|has| has == member), "{identity:?} joins {member:?}");
            identity.member = Some(member);
        })
    }

    fn change(&self, change: impl FnOnce(&mut Identity)) -> Result<(), DataDirError> {
        let mut known = self.known();
        let mut changed = known.clone();
        change(&mut changed);
        if changed != *known {
            changed.write(&self.path)?;
            *known = changed;
        }
        Ok(())
    }

    /// A change is taken over only once it is written, so a panic leaves what is on disk.
    fn known(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where storage-leveldb keeps its files.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.path.join(STORAGE)
    }

    /// What stays the same while the node runs, unless the directory is taken away. To be called
    /// once the storage is open.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.path, &self.storage())
    }
}

/// Whether this program knows the layout.
pub(crate) fn check_format(path: &Path, found: &Identity) -> Result<(), IdentityError> {
    if found.format == FORMAT_VERSION {
        return Ok(());
    }
    Err(IdentityError::Format { dir: path.to_owned(), found: found.format })
}

fn check(path: &Path, found: &Identity, copied: bool, claim: &Claim) -> Result<(), IdentityError> {
    let dir = path.to_owned();
    check_format(path, found)?;
    if found.node_id != claim.node_id {
        return Err(IdentityError::Mismatch { dir, found: found.node_id, asked: claim.node_id });
    }
    match found.member {
        Some(_) if found.outdated => Err(IdentityError::Outdated { dir, node: found.node_id }),
        Some(member) if copied && !claim.accept_moved => {
            Err(IdentityError::Copied { dir, node: found.node_id, cluster: member.cluster_id })
        }
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

pub(crate) fn create(path: &Path) -> Result<(), DataDirError> {
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

fn refuse_rebuilding(path: &Path) -> Result<(), DataDirError> {
    let marker = path.join(REBUILDING);
    match marker.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(DataDirError::Rebuilding(path.to_owned())),
        Err(e) => Err(failed("look for", &marker)(e)),
    }
}

fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    refuse_rebuilding(path)?;
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

pub(crate) fn lock(path: &Path) -> Result<File, DataDirError> {
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
    use network_grpc::{ClusterId, Incarnation};

    use super::*;

    fn claim() -> Claim {
        Claim { node_id: 1, peers: Some("1=a:1/a:2".parse().unwrap()), accept_moved: false }
    }

    fn member() -> MemberIdentity {
        MemberIdentity { cluster_id: ClusterId::random(), incarnation: Some(Incarnation::random(7)) }
    }

    #[test]
    fn a_directory_is_made_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let new = DataDir::open(&path, &claim()).unwrap();
        assert!(!new.identity().stored);
        new.mark_stored().unwrap();
        let member = member();
        new.join(member).unwrap();
        drop(new);
        let again = DataDir::open(&path, &Claim { peers: None, ..claim() }).unwrap().identity();
        assert!(again.stored && again.member == Some(member));
        assert_eq!(again.peers, claim().peers, "the peer list of the first start");
    }

    #[test]
    fn another_peer_list_takes_the_place_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), &claim()).unwrap());
        let moved = Claim { peers: Some("1=b:1/b:2".parse().unwrap()), ..claim() };
        assert_eq!(DataDir::open(dir.path(), &moved).unwrap().identity().peers, moved.peers);
    }

    #[test]
    fn two_processes_cannot_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let _held = DataDir::open(dir.path(), &claim()).unwrap();
        let error = DataDir::open(dir.path(), &claim()).unwrap_err();
        assert!(matches!(error, DataDirError::Locked(_)) && !error.is_misfit(), "{error}");
    }

    #[test]
    fn a_strangers_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.doc"), "precious").unwrap();
        let error = DataDir::open(dir.path(), &claim()).unwrap_err();
        assert!(error.is_misfit());
        let error = error.to_string();
        assert!(error.contains("thesis.doc") && error.contains("--data-dir"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_crash_while_the_identity_is_written_is_repaired() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(IDENTITY_TEMPORARY), "form").unwrap();
        let identity = DataDir::open(dir.path(), &claim()).unwrap().identity();
        let found = Identity::read(dir.path()).unwrap().unwrap();
        assert_eq!((found.identity, found.copied), (identity, false));
    }

    #[test]
    fn another_nodes_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), &claim()).unwrap());
        let error = DataDir::open(dir.path(), &Claim { node_id: 2, ..claim() }).unwrap_err();
        assert!(error.is_misfit());
        let error = error.to_string();
        for part in ["node 1", "node 2", "--id 1"] {
            assert!(error.contains(part), "no '{part}' in: {error}");
        }
    }

    /// A copy that has joined nothing can have promised nothing.
    #[test]
    fn a_copy_of_a_member_is_refused_until_the_operator_says_that_it_was_moved() {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let original = DataDir::open(dir.path(), &claim()).unwrap();
        let duplicate = || {
            let from = dir.path().join(IDENTITY_FILE);
            // Removed first, or the copy would be written into the file that is there.
            let _ = fs::remove_file(copy.path().join(IDENTITY_FILE));
            fs::copy(&from, copy.path().join(IDENTITY_FILE)).unwrap();
            from
        };
        if fs::metadata(duplicate()).unwrap().created().is_err() {
            println!("SKIPPED: this file system does not say when a file was made");
            return;
        }
        drop(DataDir::open(copy.path(), &claim()).unwrap());
        original.join(member()).unwrap();
        duplicate();
        let error = DataDir::open(copy.path(), &claim()).unwrap_err();
        assert!(error.is_misfit());
        let error = error.to_string();
        assert!(error.contains("is a copy") && error.contains("cluster remove 1"), "{error}");
        drop(DataDir::open(copy.path(), &Claim { accept_moved: true, ..claim() }).unwrap());
        drop(DataDir::open(copy.path(), &claim()).unwrap());
    }

    #[test]
    fn a_directory_that_is_taken_away_or_replaced_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("data"), dir.path().join("aside"));
        let data_dir = DataDir::open(&path, &claim()).unwrap();
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
        let error = DataDir::open(&path, &claim()).unwrap_err().to_string();
        assert!(error.contains("cannot create") && error.contains("--data-dir"), "{error}");
    }
}
