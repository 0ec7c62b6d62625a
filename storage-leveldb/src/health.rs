//! The error latch. Owned by [`Storage`](crate::Storage), shared with every file it has open.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::disk::{Calls, PendingCall};

/// The first thing that went wrong: which file, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file or directory concerned.
    pub path: PathBuf,
    /// What failed, and why.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage fault in {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for Fault {}

/// Latches the first fault, and knows of calls to the disk that do not return, which is none yet.
/// Cheap to clone; all clones share one latch. Telling people of it is up to the program that
/// opened the storage.
///
/// Invariants: once there is a fault it never changes and never goes away, and nothing is written
/// to disk any more. rusty-leveldb deletes the inputs of a compaction that failed; because the
/// latch refuses the write that would record the deletion, the directory stays as it was before the
/// failure.
#[derive(Debug, Clone, Default)]
pub struct Health {
    first: Arc<OnceLock<Fault>>,
    calls: Calls,
}

impl Health {
    /// The first fault, if there has been one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.first.get().cloned()
    }

    /// `Err` with the first fault, if there has been one.
    ///
    /// # Errors
    /// The latched fault.
    pub fn check(&self) -> Result<(), Fault> {
        self.first.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// The call to the disk that has been under way for longest: a write, a sync, a new name. One
    /// that has been for seconds will hang; what waits for it is told nothing until it returns.
    #[must_use]
    pub fn pending_call(&self) -> Option<PendingCall> {
        self.calls.oldest()
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Records a fault unless there is one already; answers with the first.
    pub fn latch(&self, path: &Path, reason: impl ToString) -> Fault {
        self.first.get_or_init(|| Fault { path: path.to_owned(), reason: reason.to_string() }).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_stays() {
        let health = Health::default();
        assert_eq!(health.check(), Ok(()));
        health.latch(Path::new("a"), "first");
        health.clone().latch(Path::new("b"), "second");
        assert_eq!(health.fault().unwrap().reason, "first");
        assert!(health.check().is_err());
    }
}
