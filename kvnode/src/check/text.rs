//! The report for people.

use std::fmt::{self, Write as _};

use storage_leveldb::check::{CheckedLog, CheckedPairs, CheckedPosition, Problem, ProblemKind};

use super::advice::{KINDS, advice, procedure};
use super::outcome::Outcome;
use raftnode::identity::Identity;

pub(super) fn of(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_to(&mut text, outcome);
    text
}

fn write_to(text: &mut String, outcome: &Outcome) -> fmt::Result {
    let whose = match &outcome.identity {
        Some(Identity { node_id, member: Some(member), .. }) => {
            format!("node {node_id} of cluster {}", member.cluster_id)
        }
        Some(identity) => format!("node {} of no cluster yet", identity.node_id),
        None => "a node that cannot be told".to_owned(),
    };
    writeln!(text, "{}: {whose}\n", outcome.data_dir.display())?;
    contents(text, outcome)?;
    if !outcome.notes.is_empty() {
        writeln!(text, "\nNotes, nothing to do:")?;
        for note in &outcome.notes {
            writeln!(text, "  {}: {}", outcome.shown(&note.path), note.text)?;
        }
        more(text, outcome.more_notes)?;
    }
    for kind in KINDS {
        problems(text, outcome, kind)?;
    }
    more(text, outcome.more_problems)?;
    match outcome.more_problems.saturating_add(outcome.problems.len() as u64) {
        0 => writeln!(text, "\nAll is well."),
        1 => writeln!(text, "\nNot well: 1 problem."),
        many => writeln!(text, "\nNot well: {many} problems."),
    }
}

fn more(text: &mut String, count: u64) -> fmt::Result {
    if count == 0 { Ok(()) } else { writeln!(text, "  and {count} more") }
}

fn contents(text: &mut String, outcome: &Outcome) -> fmt::Result {
    writeln!(text, "files     {} sound, {}", outcome.files, Size(outcome.bytes))?;
    let not_read = if outcome.problems.is_empty() { "none yet" } else { "not looked at" };
    match &outcome.log {
        Some(found) => writeln!(text, "log       {}", log(found))?,
        None => writeln!(text, "log       {not_read}")?,
    }
    match &outcome.state {
        Some(found) => writeln!(text, "state     {}", pairs(found)),
        None => writeln!(text, "state     {not_read}"),
    }
}

fn log(log: &CheckedLog) -> String {
    let range = match (&log.first, &log.last) {
        (Some(first), Some(last)) if log.entries > 0 => format!(" ({first} to {})", last.index),
        _ => String::new(),
    };
    let vote = log.vote.as_deref().unwrap_or("none");
    format!(
        "{} entries{range}, {}; purged up to {}, committed up to {} at least, vote {vote}",
        log.entries,
        Size(log.bytes),
        index(log.purged.as_ref()),
        index(log.committed.as_ref()),
    )
}

fn pairs(pairs: &CheckedPairs) -> String {
    format!("{} pairs, {}, up to entry {}", pairs.pairs, Size(pairs.bytes), index(pairs.applied.as_ref()))
}

fn index(position: Option<&CheckedPosition>) -> String {
    position.map_or_else(|| "none".to_owned(), |position| position.index.to_string())
}

fn problems(text: &mut String, outcome: &Outcome, kind: ProblemKind) -> fmt::Result {
    let of_kind: Vec<&Problem> = outcome.problems.iter().filter(|problem| problem.kind == kind).collect();
    if of_kind.is_empty() {
        return Ok(());
    }
    let heading = match kind {
        ProblemKind::Damaged => "Damaged",
        ProblemKind::Unreadable => "Cannot be read",
        ProblemKind::OtherFormat => "Written by another version",
    };
    writeln!(text, "\n{heading}:")?;
    for problem in of_kind {
        writeln!(text, "  {}: {}", outcome.shown(&problem.path), problem.reason)?;
    }
    let id = outcome.identity.as_ref().map(|identity| identity.node_id);
    writeln!(text, "What to do: {}\n  See {}.", advice(kind, id), procedure(kind))
}

/// Bytes, for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..10_000 => return write!(f, "{} bytes", self.0),
            10_000..10_000_000 => (1024, "KiB"),
            10_000_000..10_000_000_000 => (1024 * 1024, "MiB"),
            _ => (1024 * 1024 * 1024, "GiB"),
        };
        write!(f, "{} {name}", self.0.div_ceil(unit))
    }
}
