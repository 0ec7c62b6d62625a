//! What a check has found.

use std::path::{Path, PathBuf};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;

use crate::health::{Fault, FaultKind};

/// The result of a [`check`](super::check).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What keeps a node from starting, or from being right if it starts. Empty: all is well.
    pub problems: Vec<Problem>,
    /// Problems that are not in `problems` any more.
    pub more_problems: u64,
    /// What is worth knowing and needs no action.
    pub notes: Vec<Note>,
    /// Notes that are not in `notes` any more.
    pub more_notes: u64,
    /// Files of which every byte was read.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// The log; `None`: not looked at, because files are damaged or there is none.
    pub log: Option<CheckedLog>,
    /// The state machine; `None` as for the log.
    pub state: Option<CheckedPairs>,
}

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the directory of the database.
    pub path: PathBuf,
    /// What kind of answer it needs.
    pub kind: ProblemKind,
    /// What is wrong, with the place in the file where it has one.
    pub reason: String,
}

/// What kind of answer a problem needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// Bytes are not what was written, or something is missing.
    Damaged,
    /// The disk or the operating system refuses to read.
    Unreadable,
    /// Another version of this crate wrote it.
    OtherFormat,
}

impl CheckedPosition {
    pub(super) fn of<C: RaftTypeConfig>(log_id: &LogIdOf<C>) -> Self {
        Self { index: log_id.index, log_id: log_id.to_string() }
    }
}

impl Problem {
    /// What a part of the storage reports of itself.
    pub(super) fn of(fault: &Fault) -> Self {
        let kind = match fault.kind {
            FaultKind::NoSpace | FaultKind::Io => ProblemKind::Unreadable,
            FaultKind::OtherFormat => ProblemKind::OtherFormat,
            FaultKind::Corrupt | FaultKind::Application => ProblemKind::Damaged,
        };
        Self { path: fault.path.clone(), kind, reason: fault.reason.clone() }
    }

    pub(super) fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), kind: ProblemKind::Damaged, reason: reason.to_string() }
    }
}

/// Something worth knowing that is not wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file or directory.
    pub path: PathBuf,
    /// What is to be known of it.
    pub text: String,
}

/// A log id, without the type configuration it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedPosition {
    /// The log index.
    pub index: u64,
    /// The whole log id, as openraft shows it.
    pub log_id: String,
}

/// What the log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedLog {
    /// Entries that decoded and are in their place.
    pub entries: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// The vote, as openraft shows it.
    pub vote: Option<String>,
    /// Index of the first entry.
    pub first: Option<u64>,
    /// The last entry.
    pub last: Option<CheckedPosition>,
    /// The last purged entry.
    pub purged: Option<CheckedPosition>,
    /// The last entry known to be committed; may be older than the truth.
    pub committed: Option<CheckedPosition>,
}

/// What the state machine holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedPairs {
    /// The last entry that went into it.
    pub applied: Option<CheckedPosition>,
    /// Pairs of the application.
    pub pairs: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Reads files.
    Files {
        /// Files read.
        files: u64,
        /// Of this many.
        of_files: u64,
        /// Bytes read.
        bytes: u64,
        /// Of this many.
        of_bytes: u64,
    },
    /// Reads the log: this many entries so far.
    Entries(u64),
    /// Reads the state machine: this many pairs so far.
    Pairs(u64),
}
