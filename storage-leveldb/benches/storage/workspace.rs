//! The directory for the data of a run.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::args::Args;
use crate::process;

/// A directory that is removed when dropped.
pub(crate) struct Workspace(TempDir);

impl Workspace {
    pub(crate) fn new(args: &Args) -> Self {
        let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("storage-bench-").tempdir_in(parent).unwrap();
        process::warn_if_in_memory(dir.path());
        Self(dir)
    }

    /// A directory in it, which need not exist.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
