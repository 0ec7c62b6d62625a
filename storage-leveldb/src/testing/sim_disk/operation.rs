//! The kinds of operation on a simulated disk.

use std::fmt;

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
