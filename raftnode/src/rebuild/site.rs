//! The data directory in which the work is done: locked, and step by step.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use network_grpc::ClusterId;

use super::Rebuilt;
use super::error::RebuildError;
use super::marker::{Marker, Work};
use crate::data_dir::{self, LOCK_FILE, REBUILDING, STORAGE};
use crate::identity::{IDENTITY_FILE, IDENTITY_TEMPORARY, Identity, IdentityError};

/// The storage that is being made.
const REBUILT: &str = "storage.rebuilt";
/// The storage of the old cluster, once it is not used any more; the cluster's id follows.
const BEFORE: &str = "storage.of-";

/// Invariant: while this value lives, no node and no other call works on the directory.
pub(super) struct Site {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Site {
    /// Locks the directory, and makes it if there is none.
    pub(super) fn make(path: &Path) -> Result<Self, RebuildError> {
        data_dir::create(path)?;
        // Before the lock file is made, too: nothing is written into a stranger's directory.
        refuse_foreign(path)?;
        let site = Self::lock(path)?;
        refuse_foreign(path)?;
        Ok(site)
    }

    /// Locks a directory that is there.
    pub(super) fn find(path: &Path) -> Result<Self, RebuildError> {
        let looked = fs::metadata(path.join(IDENTITY_FILE));
        if looked.is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            let reason = format!("there is no {IDENTITY_FILE}, so it is not the data directory of a node");
            return Err(RebuildError::Nothing { path: path.to_owned(), reason });
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, RebuildError> {
        Ok(Self { path: path.to_owned(), _lock: data_dir::lock(path)? })
    }

    /// What has been begun here.
    pub(super) fn begun(&self, asked: Work) -> Result<Option<Marker>, RebuildError> {
        let marker = Marker::read(&self.path)?;
        match marker {
            Some(marker) if marker.work != asked => {
                let (path, begun, asked) = (self.path.clone(), marker.work.name(), asked.name());
                Err(RebuildError::OtherWork { path, begun, asked })
            }
            marker => Ok(marker),
        }
    }

    pub(super) fn identity(&self) -> Result<Option<Identity>, RebuildError> {
        Ok(Identity::read(&self.path)?.map(|found| found.identity))
    }

    /// Finishes what was begun, if the new identity is there already.
    pub(super) fn finish_begun(&self, marker: &Marker) -> Result<Option<Rebuilt>, RebuildError> {
        let identity = self.identity()?.filter(|identity| identity.member == Some(marker.member));
        identity.map(|identity| self.finish(marker, &identity)).transpose()
    }

    /// Steps 1 and, before it begins, what an interrupted call has left of 2. Answers where the
    /// storage is to be made.
    pub(super) fn begin(&self, marker: &Marker) -> Result<PathBuf, RebuildError> {
        marker.write(&self.path).map_err(self.failed("write", REBUILDING))?;
        let rebuilt = self.path.join(REBUILT);
        match fs::remove_dir_all(&rebuilt) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", REBUILT)(e)),
            _ => Ok(rebuilt),
        }
    }

    /// Steps 3 to 6. The storage is complete, durable and closed.
    pub(super) fn commit(&self, marker: &Marker, identity: &Identity) -> Result<Rebuilt, RebuildError> {
        debug_assert!(identity.member == Some(marker.member), "{identity:?} is not of {marker:?}");
        identity.write(&self.path)?;
        self.finish(marker, identity)
    }

    fn finish(&self, marker: &Marker, identity: &Identity) -> Result<Rebuilt, RebuildError> {
        // Gone: this had been done.
        if self.is_there(REBUILT)? {
            if let Some(before) = marker.before.filter(|_| marker.work == Work::Recovery)
                && self.is_there(STORAGE)?
            {
                self.rename(STORAGE, &kept(before))?;
            }
            self.rename(REBUILT, STORAGE)?;
        }
        fs::remove_file(self.path.join(REBUILDING)).map_err(self.failed("remove", REBUILDING))?;
        self.sync()?;
        Ok(Rebuilt { node_id: identity.node_id, cluster_id: marker.member.cluster_id })
    }

    fn is_there(&self, name: &str) -> Result<bool, RebuildError> {
        match fs::symlink_metadata(self.path.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.failed("find", name)(e)),
            Ok(_) => Ok(true),
        }
    }

    /// Durable when it returns.
    fn rename(&self, from: &str, to: &str) -> Result<(), RebuildError> {
        let renamed = fs::rename(self.path.join(from), self.path.join(to));
        renamed.map_err(self.failed("rename", from))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), RebuildError> {
        let synced = File::open(&self.path).and_then(|dir| dir.sync_all());
        synced.map_err(|source| RebuildError::Io { action: "sync", path: self.path.clone(), source })
    }

    fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(io::Error) -> RebuildError + use<> {
        let path = self.path.join(name);
        move |source| RebuildError::Io { action, path, source }
    }
}

/// Where the storage of the old cluster is kept.
pub(super) fn kept(cluster: ClusterId) -> String {
    format!("{BEFORE}{cluster}")
}

/// A directory in which a restore was begun has whatever that has left.
fn refuse_foreign(path: &Path) -> Result<(), RebuildError> {
    let failed = |source| RebuildError::Io { action: "list", path: path.to_owned(), source };
    let mut foreign = None;
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        match name.to_str() {
            Some(REBUILDING) => return Ok(()),
            Some(LOCK_FILE | IDENTITY_TEMPORARY | "REBUILDING.tmp" | "lost+found") => {}
            _ => foreign = Some(name.to_string_lossy().into_owned()),
        }
    }
    let path = path.to_owned();
    foreign.map_or(Ok(()), |found| Err(RebuildError::NotEmpty { path, found }))
}

/// Whose data it is must be known, and a copy must be vouched for.
pub(super) fn check_copy(path: &Path, accept_moved: bool) -> Result<Identity, RebuildError> {
    let Some(found) = Identity::read(path)? else {
        let reason = format!("there is no {IDENTITY_FILE}");
        return Err(RebuildError::Nothing { path: path.to_owned(), reason });
    };
    let identity = found.identity;
    data_dir::check_format(path, &identity)?;
    let Some(member) = identity.member else {
        let reason = format!("node {} belongs to no cluster", identity.node_id);
        return Err(RebuildError::Nothing { path: path.to_owned(), reason });
    };
    if found.copied && !accept_moved {
        let (dir, node) = (path.to_owned(), identity.node_id);
        return Err(IdentityError::Copied { dir, node, cluster: member.cluster_id }.into());
    }
    Ok(identity)
}
