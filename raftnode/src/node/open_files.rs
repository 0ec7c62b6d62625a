//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asked for where there is no hard limit: the most that Linux grants by default.
const MAX_OPEN_FILES: u64 = 1 << 20;

/// How many files this process may have open.
pub(super) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit to the hard one, once, before a node opens any file. Connections and
/// storage share it, and a storage that may not open a file has failed: 1024, which shells and
/// container runtimes hand down, are as many as some 500 idle clients and a large state take.
pub(super) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MAX_OPEN_FILES);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(wanted), maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files from {current:?} to {wanted}: {e}");
    }
}
