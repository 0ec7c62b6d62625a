//! What a workload has done: a test that never does a thing says nothing about it.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of work. Counted only where it changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// One append.
    Append,
    /// Several appends, the next handed over before the one before it was durable.
    AppendTogether,
    /// Appends, and a vote before they were known to be durable.
    AppendAndVote,
    /// Appends, and a purge before they were known to be durable.
    AppendAndPurge,
    /// A vote for a new leader.
    Vote,
    /// The vote for a leader that has been elected.
    CommittedVote,
    /// Entries removed from the log's end.
    Truncate,
    /// Entries removed from the log's start.
    Purge,
    /// Entries committed and applied.
    Apply,
    /// A snapshot built.
    Snapshot,
    /// Entries applied after a snapshot had begun and before it was built.
    ApplyDuringSnapshot,
    /// A leader's snapshot installed.
    Install,
    /// The storage closed and opened.
    Reopen,
    /// The storage opened after a crash, and brought up to date as openraft does.
    Recover,
}

impl StepKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Append,
        Self::AppendTogether,
        Self::AppendAndVote,
        Self::AppendAndPurge,
        Self::Vote,
        Self::CommittedVote,
        Self::Truncate,
        Self::Purge,
        Self::Apply,
        Self::Snapshot,
        Self::ApplyDuringSnapshot,
        Self::Install,
        Self::Reopen,
        Self::Recover,
    ];
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::AppendTogether => "several appends",
            Self::AppendAndVote => "append and vote",
            Self::AppendAndPurge => "append and purge",
            Self::Vote => "vote",
            Self::CommittedVote => "committed vote",
            Self::Truncate => "truncate",
            Self::Purge => "purge",
            Self::Apply => "apply",
            Self::Snapshot => "snapshot",
            Self::ApplyDuringSnapshot => "apply during a snapshot",
            Self::Install => "install",
            Self::Reopen => "reopen",
            Self::Recover => "recover",
        })
    }
}

/// How often what was done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    by_kind: BTreeMap<StepKind, u64>,
}

impl Steps {
    pub(super) fn count(&mut self, kind: StepKind) {
        let count = self.by_kind.entry(kind).or_default();
        *count += 1;
    }

    pub(super) fn count_if(&mut self, was_done: bool, kind: StepKind) {
        if was_done {
            self.count(kind);
        }
    }

    /// Adds these to `sum`.
    pub(crate) fn add_to(&self, sum: &mut BTreeMap<StepKind, u64>) {
        for (kind, count) in &self.by_kind {
            let all = sum.entry(*kind).or_default();
            *all += *count;
        }
    }
}
