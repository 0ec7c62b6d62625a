//! The data directory of a node that does not run: locked, and known by its stamp.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use storage_leveldb::check::{Note, Problem, ProblemKind};

use raftnode::data_dir::{LOCK_FILE, REBUILDING, STORAGE};
use raftnode::identity::{FORMAT_VERSION, Found, IDENTITY_FILE, IDENTITY_TEMPORARY, Identity, IdentityError};

/// Nothing can be said about a directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotChecked {
    /// It cannot be looked at.
    #[error(
        "cannot {action} {}; give --data-dir the directory of a node, and run this as the node's user",
        path.display()
    )]
    Io {
        /// `find`, `list`, …
        action: &'static str,
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A process holds the lock.
    #[error("{} is in use by a running kvnode; stop that node first", .0.display())]
    Running(PathBuf),
    /// Neither a stamp nor a storage.
    #[error("{} was not made by kvnode: it has neither {IDENTITY_FILE} nor {STORAGE}", .0.display())]
    Foreign(PathBuf),
}

/// A data directory that no node uses.
///
/// Invariant: while this value lives no node can start on the directory, unless it has no lock
/// file.
pub(super) struct StoppedNode {
    pub(super) path: PathBuf,
    pub(super) identity: Option<Identity>,
    /// The stamp says that there is a storage; without a stamp there must be one, too.
    pub(super) has_stored: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    // Closing the file gives up the lock.
    _lock: Option<File>,
}

impl StoppedNode {
    /// Locks the directory and reads its stamp, and creates nothing.
    pub(super) fn open(data_dir: &Path) -> Result<Self, NotChecked> {
        let path = data_dir.canonicalize().map_err(failed("find", data_dir))?;
        let names = names(&path)?;
        let has = |name: &str| names.iter().any(|found| found == name);
        if !has(IDENTITY_FILE) && !has(STORAGE) {
            return Err(NotChecked::Foreign(path));
        }
        let mut node = Self {
            identity: None,
            has_stored: true,
            problems: Vec::new(),
            notes: Vec::new(),
            _lock: lock(&path)?,
            path: path.clone(),
        };
        node.read_identity();
        match (has(STORAGE), node.has_stored) {
            (false, true) => {
                let reason = "missing, although this node has stored data here".to_owned();
                node.problem(STORAGE, ProblemKind::Damaged, reason);
            }
            (false, false) => {
                node.note(STORAGE, "missing: the first start of this node did not get that far")
            }
            (true, _) => {}
        }
        for name in names {
            match &*name {
                IDENTITY_FILE | LOCK_FILE | STORAGE | "lost+found" => {}
                REBUILDING => {
                    node.note(&name, "a restore or a recovery has not ended: run it again, to its end")
                }
                name if name.starts_with("storage.") => {
                    node.note(name, "a storage that does not count: of an earlier cluster, or not finished")
                }
                IDENTITY_TEMPORARY => node.note(&name, "left over from a first start that was interrupted"),
                _ => node.note(&name, "does not belong here; not looked at"),
            }
        }
        Ok(node)
    }

    fn read_identity(&mut self) {
        let (kind, reason) = match Identity::read(&self.path) {
            Ok(Some(Found { identity, .. })) if identity.format == FORMAT_VERSION => {
                self.has_stored = identity.stored;
                self.identity = Some(identity);
                return;
            }
            Ok(Some(other)) => {
                let found = other.identity.format;
                let reason = format!("format {found}; this version reads format {FORMAT_VERSION} only");
                (ProblemKind::OtherFormat, reason)
            }
            Ok(None) => (ProblemKind::Damaged, "missing, although the directory was in use".to_owned()),
            Err(IdentityError::Damaged { reason, .. }) => (ProblemKind::Damaged, reason),
            Err(IdentityError::Io { source, .. }) => {
                (ProblemKind::Unreadable, format!("cannot read: {source}"))
            }
            Err(other) => (ProblemKind::Damaged, other.to_string()),
        };
        self.problem(IDENTITY_FILE, kind, reason);
    }

    fn problem(&mut self, name: &str, kind: ProblemKind, reason: String) {
        self.problems.push(Problem { path: self.path.join(name), kind, reason });
    }

    fn note(&mut self, name: &str, text: &str) {
        self.notes.push(Note { path: self.path.join(name), text: text.to_owned() });
    }

    /// Where storage-leveldb's files are; `None` if they are gone, or another version of this
    /// program wrote them.
    pub(super) fn storage(&self) -> Option<PathBuf> {
        let storage = self.path.join(STORAGE);
        let other_format = self.problems.iter().any(|problem| problem.kind == ProblemKind::OtherFormat);
        (!other_format && storage.exists()).then_some(storage)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NotChecked {
    let path = path.to_owned();
    move |source| NotChecked::Io { action, path, source }
}

fn names(path: &Path) -> Result<Vec<String>, NotChecked> {
    let entries = fs::read_dir(path).map_err(failed("list", path))?;
    let name =
        |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.map(name).collect::<Result<_, _>>().map_err(failed("list", path))?;
    names.sort();
    Ok(names)
}

/// The lock file is opened for reading only, so that a directory on a disk that may only be read
/// can be checked.
fn lock(dir: &Path) -> Result<Option<File>, NotChecked> {
    let path = dir.join(LOCK_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("open", &path)(e)),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(e) if e == rustix::io::Errno::WOULDBLOCK => Err(NotChecked::Running(dir.to_owned())),
        Err(e) => Err(failed("lock", &path)(e.into())),
    }
}
