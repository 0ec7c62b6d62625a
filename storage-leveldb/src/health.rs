//! Faults, and the latch that keeps the first. Owned by [`Storage`](crate::Storage), shared with
//! every file it has open.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::disk::Calls;
pub use crate::disk::PendingCall;

/// What kind of failure a [`Fault`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// There is no room, on the disk or in the quota. What is on disk is good.
    NoSpace,
    /// The operating system, or an engine, refuses or fails a call.
    Io,
    /// Bytes on disk are not what was written, or something is missing.
    Corrupt,
    /// Another version of this crate wrote it.
    OtherFormat,
    /// The application's code failed where it cannot refuse.
    Application,
}

/// Something that went wrong, after which nothing more is written: what kind of failure, where, and
/// what.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fault {
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// The file or directory concerned.
    pub path: PathBuf,
    /// What failed, and why.
    pub reason: String,
    /// The error of the operating system, if there was one.
    source: Option<Arc<io::Error>>,
}

impl Fault {
    /// A failure of this kind.
    #[must_use]
    pub fn new(kind: FaultKind, path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self { kind, path: path.into(), reason: reason.to_string(), source: None }
    }

    /// Bytes on disk are not what was written, or something is missing.
    #[must_use]
    pub fn corrupt(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::new(FaultKind::Corrupt, path, reason)
    }

    /// The application's code failed where it cannot refuse.
    #[must_use]
    pub fn application(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::new(FaultKind::Application, path, reason)
    }

    /// The operating system could not do something (`read`, `write`, …) with a file.
    #[must_use]
    pub fn io(doing: &str, path: impl Into<PathBuf>, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::NoSpace,
            // The disk has answered, with less than there must be, or more.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => FaultKind::Corrupt,
            _ => FaultKind::Io,
        };
        let reason = format!("cannot {doing}: {error}");
        Self { kind, path: path.into(), reason, source: Some(Arc::new(error)) }
    }
}

impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.path, &self.reason) == (other.kind, &other.path, &other.reason)
    }
}

impl Eq for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage fault in {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

/// Latches the first fault, and knows of calls to the disk that do not return, which is none yet.
/// Cheap to clone; all clones share one latch. Reporting a fault is the business of the program
/// that opened the storage.
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

    /// Records a fault unless there is one already; answers the first. Every fault of a storage
    /// comes through here.
    pub fn latch(&self, fault: Fault) -> Fault {
        self.first.get_or_init(|| fault).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_stays() {
        let health = Health::default();
        assert_eq!(health.check(), Ok(()));
        health.latch(Fault::corrupt("a", "first"));
        health.clone().latch(Fault::corrupt("b", "second"));
        assert_eq!(health.fault().unwrap().reason, "first");
        assert!(health.check().is_err());
    }

    #[test]
    fn the_kind_of_a_failure_is_that_of_the_system() {
        let kind = |number| Fault::io("write", "a", io::Error::from_raw_os_error(number)).kind;
        assert_eq!([kind(28), kind(122)], [FaultKind::NoSpace; 2]);
        assert_eq!(kind(5), FaultKind::Io);
        let fault = Fault::io("read", "a", io::ErrorKind::UnexpectedEof.into());
        assert_eq!(fault.kind, FaultKind::Corrupt);
        assert!(std::error::Error::source(&fault).is_some());
    }
}
