//! What a check of a data directory has found, the stamp and the storage together.

use std::path::{Path, PathBuf};

use storage_leveldb::StorageError;
use storage_leveldb::check::{CheckedLog, CheckedPairs, Note, Problem, ProblemKind, Report};

use super::directory::StoppedNode;
use raftnode::identity::Identity;

/// Everything that is reported. Empty `problems`: all is well.
pub(super) struct Outcome {
    pub(super) data_dir: PathBuf,
    pub(super) identity: Option<Identity>,
    pub(super) problems: Vec<Problem>,
    pub(super) more_problems: u64,
    pub(super) notes: Vec<Note>,
    pub(super) more_notes: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) log: Option<CheckedLog>,
    pub(super) state: Option<CheckedPairs>,
}

impl Outcome {
    /// Before the storage has been looked at.
    pub(super) fn of(node: &StoppedNode) -> Self {
        Self {
            data_dir: node.path.clone(),
            identity: node.identity.clone(),
            problems: node.problems.clone(),
            more_problems: 0,
            notes: node.notes.clone(),
            more_notes: 0,
            files: 0,
            bytes: 0,
            log: None,
            state: None,
        }
    }

    pub(super) fn add(&mut self, report: Report) {
        self.problems.extend(report.problems);
        self.notes.extend(report.notes);
        (self.more_problems, self.more_notes) = (report.more_problems, report.more_notes);
        (self.files, self.bytes) = (report.files, report.bytes);
        (self.log, self.state) = (report.log, report.state);
    }

    /// The storage could not be checked.
    pub(super) fn add_unreadable(&mut self, storage: PathBuf, e: &StorageError) {
        self.problems.push(Problem { path: storage, kind: ProblemKind::Unreadable, reason: e.to_string() });
    }

    /// A path as a report shows it: below the data directory.
    pub(super) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.data_dir).unwrap_or(path).display()
    }
}
