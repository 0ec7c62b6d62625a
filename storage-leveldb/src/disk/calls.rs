//! Calls to the disk that have not returned.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A call that changes something on the disk and has not returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCall {
    /// What is to be done: `write`, `sync`, …
    pub doing: &'static str,
    /// The file or directory concerned.
    pub path: PathBuf,
    /// How long ago it began.
    pub since: Duration,
}

impl fmt::Display for PendingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: the disk has not answered for {:?}",
            self.doing,
            self.path.display(),
            self.since
        )
    }
}

/// All of them, of all threads. Cheap to clone; clones share the calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Begun>>);

/// Numbers rise, so that the first is the oldest.
#[derive(Debug, Default)]
struct Begun {
    next: u64,
    calls: BTreeMap<u64, (&'static str, Arc<Path>, Instant)>,
}

/// A call is pending until this is dropped.
pub(crate) struct Pending {
    number: u64,
    calls: Calls,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Begun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, doing: &'static str, path: &Arc<Path>) -> Pending {
        let mut begun = self.lock();
        let number = begun.next;
        begun.next += 1;
        begun.calls.insert(number, (doing, path.clone(), Instant::now()));
        Pending { number, calls: self.clone() }
    }

    pub(crate) fn oldest(&self) -> Option<PendingCall> {
        let begun = self.lock();
        let (doing, path, at) = begun.calls.values().next()?;
        Some(PendingCall { doing, path: path.to_path_buf(), since: at.elapsed() })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.calls.lock().calls.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_named_until_it_returns() {
        let calls = Calls::default();
        let path = |name: &str| Arc::from(Path::new(name));
        let first = calls.begin("sync", &path("a"));
        let second = calls.begin("write", &path("b"));
        let named = || calls.oldest().map(|call| (call.doing, call.path));
        assert_eq!(named(), Some(("sync", "a".into())));
        drop(first);
        assert_eq!(named(), Some(("write", "b".into())));
        drop(second);
        assert_eq!(named(), None);
    }
}
