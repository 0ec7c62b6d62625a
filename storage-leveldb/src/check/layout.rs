//! What is in a storage directory, and which of it counts.
//!
//! Of the state, the runs that ROOT names count. If ROOT cannot be read, all of them do.

use std::path::{Path, PathBuf};

use super::files::PlannedFile;
use super::findings::Findings;
use super::leveldb::{self, Of};
use super::report::Problem;
use crate::file::marker;
use crate::state::{ROOT, Root, StandardTypes, run_name, run_number};
use crate::storage::{Format, check_format};
use crate::upgrade::is_old;

/// How FORMAT begins in every version.
const NAME: &[u8] = b"storage-leveldb ";

/// What is to be read.
pub(super) struct Plan {
    pub(super) files: Vec<PlannedFile>,
    /// The storage was once opened to the end: what is missing now is damage.
    pub(super) is_complete: bool,
}

pub(super) fn plan<C: StandardTypes>(findings: &mut Findings<'_>, dir: &Path) -> Plan {
    let mut files = Vec::new();
    let Some(is_complete) = format(findings, dir) else {
        return Plan { files, is_complete: true };
    };
    for name in names(findings, dir) {
        match name.to_str() {
            Some("LOCK" | "FORMAT" | "log" | "state") => {}
            Some("FORMAT.tmp") => left_over(findings, &dir.join(name)),
            Some(old) if is_old(false, old) => left_over(findings, &dir.join(name)),
            _ => unknown(findings, &dir.join(name)),
        }
    }
    if !is_complete {
        findings.note(&dir.join("FORMAT"), "missing: the first start of this storage did not get to its end");
    }
    database(findings, &dir.join("log"), is_complete, &mut files);
    state::<C>(findings, &dir.join("state"), is_complete, &mut files);
    Plan { files, is_complete }
}

/// Whether the storage was ever complete; `None` if another version wrote it and nothing can be said of the rest.
fn format(findings: &mut Findings<'_>, dir: &Path) -> Option<bool> {
    let path = dir.join("FORMAT");
    match marker(findings, &path) {
        None => Some(true),
        Some(None) => Some(false),
        // Cut off behind a frame it is a shorter marker, and no other version's.
        Some(Some(format)) if !format.starts_with(NAME) => {
            findings.damaged(&path, "does not name a format of this storage");
            Some(true)
        }
        Some(Some(_)) => {
            let known = check_format(&findings.guarded(), dir);
            let format = findings.opened(&path, known)?;
            if format == Format::First {
                findings.problem(Problem::to_be_upgraded(&path));
                return None;
            }
            Some(format == Format::Current)
        }
    }
}

/// What a marker says; `None` if it is damaged, `Some(None)` if there is none.
fn marker(findings: &mut Findings<'_>, path: &Path) -> Option<Option<Vec<u8>>> {
    let read = marker::read(&findings.guarded(), path);
    let content = findings.sound(read)?;
    if content.is_some() {
        findings.file_read(findings.disk().len(path).unwrap_or(0));
    }
    Some(content)
}

/// A database that must be there once the storage is complete.
fn database(findings: &mut Findings<'_>, dir: &Path, must_be: bool, files: &mut Vec<PlannedFile>) {
    if must_be && names(findings, dir).is_empty() {
        findings.damaged(dir, "the database is missing");
    } else {
        leveldb::plan(findings, dir, Of::Database, files);
    }
}

fn state<C: StandardTypes>(
    findings: &mut Findings<'_>,
    dir: &Path,
    is_complete: bool,
    files: &mut Vec<PlannedFile>,
) {
    let root = dir.join(ROOT);
    let there = marker(findings, &root);
    if is_complete && there == Some(None) {
        findings.damaged(&root, "missing");
    }
    let read = Root::<C>::read(&findings.guarded(), dir);
    let named: Option<Vec<u64>> =
        findings.sound(read).flatten().map(|root| root.runs.iter().map(|run| run.number).collect());
    let names = names(findings, dir);
    for name in &names {
        let path = dir.join(name);
        match (name.to_str(), run_number(name)) {
            (Some(ROOT), _) => {}
            (Some("ROOT.tmp"), _) => left_over(findings, &path),
            (_, Some(number)) if named.as_ref().is_none_or(|named| named.contains(&number)) => {
                leveldb::plan(findings, &path, Of::Run, files);
            }
            (_, Some(_)) => left_over(findings, &path),
            (Some(old), _) if is_old(true, old) => left_over(findings, &path),
            _ => unknown(findings, &path),
        }
    }
    for number in named.unwrap_or_default() {
        let name = PathBuf::from(run_name(number));
        if !names.contains(&name) {
            findings.damaged(&dir.join(name), "missing, although ROOT names it");
        }
    }
}

/// The names in a directory in order; none if there is no such directory.
pub(super) fn names(findings: &mut Findings<'_>, dir: &Path) -> Vec<PathBuf> {
    let listed = findings.guarded().list(dir);
    let mut names = findings.sound(listed).unwrap_or_default();
    names.sort();
    names
}

fn left_over(findings: &mut Findings<'_>, path: &Path) {
    findings
        .note(path, "left over from something that was interrupted; the next start removes or replaces it");
}

pub(super) fn unknown(findings: &mut Findings<'_>, path: &Path) {
    findings.note(path, "does not belong here; not looked at, and a start leaves it alone");
}
