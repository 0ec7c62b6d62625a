//! What happens on a simulated disk, as those who watch it see it.

use std::fmt;
use std::path::Path;

use super::SimDisk;
use super::state::State;

/// A kind of operation that changes or syncs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// A file is created, or emptied.
    Create,
    /// Bytes are written behind what was written to a file, in place of reserved zeros or behind
    /// its end.
    Write,
    /// A file gets longer by zeros.
    Reserve,
    /// A file is synced.
    Sync,
    /// A file gets another name.
    Rename,
    /// A file's name is removed.
    Delete,
    /// A directory is created.
    CreateDir,
    /// A directory is removed with all in it.
    DeleteDir,
    /// A directory is synced.
    SyncDir,
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Reserve => "reserve",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::CreateDir => "create directory",
            Self::DeleteDir => "delete directory",
            Self::SyncDir => "sync directory",
        })
    }
}

/// The middle of one operation: a change has been made and is not durable, a sync has begun and
/// made nothing durable yet. So a power failure now may leave all, some or nothing of the
/// operation.
pub struct Moment<'a> {
    /// Number of the operation on this disk; the first is 1.
    pub number: u64,
    /// What is being done.
    pub kind: OperationKind,
    /// To which file or directory.
    pub path: &'a Path,
    pub(super) state: &'a State,
}

impl Moment<'_> {
    /// A copy of the disk at this moment, unsynced changes included.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        SimDisk::from_state(self.state.copy())
    }
}

/// Sees every operation; runs in the middle of it, while the disk is locked: it must not call the
/// disk.
pub(super) type Watcher = std::sync::Arc<dyn Fn(&Moment<'_>) + Send + Sync>;
