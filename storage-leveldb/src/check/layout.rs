//! What is in a storage directory, and which of it counts.
//!
//! Of the log, the segments that its ROOT names count, and of the state the runs. If a ROOT cannot be read, all of them do.

use std::path::{Path, PathBuf};

use super::files::PlannedFile;
use super::findings::Findings;
use super::leveldb::{self, Of};
use crate::file::marker;
use crate::log::{LOG_MANIFEST, Manifest, segment_name, segment_number};
use crate::state::{ROOT, Root, StandardTypes, run_name, run_number};
use crate::storage::is_formatted;

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
            _ => unknown(findings, &dir.join(name)),
        }
    }
    if !is_complete {
        findings.note(&dir.join("FORMAT"), "missing: the first start of this storage did not get to its end");
    }
    log(findings, &dir.join("log"), is_complete, &mut files);
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
            let is_formatted = is_formatted(&findings.guarded(), dir);
            findings.sound(is_formatted)
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

fn log(findings: &mut Findings<'_>, dir: &Path, is_complete: bool, files: &mut Vec<PlannedFile>) {
    let root = dir.join(LOG_MANIFEST);
    let there = marker(findings, &root);
    if is_complete && there == Some(None) {
        findings.damaged(&root, "missing");
    }
    let read = Manifest::read(&findings.guarded(), dir);
    let named = findings.sound(read).flatten().map(|manifest| manifest.segments);
    let names = names(findings, dir);
    for name in &names {
        let path = dir.join(name);
        match (name.to_str(), segment_number(name)) {
            (Some(LOG_MANIFEST), _) => {}
            (Some("ROOT.tmp"), _) => left_over(findings, &path),
            (_, Some(segment)) if named.as_ref().is_none_or(|named| named.contains(&segment)) => {
                leveldb::plan(findings, &path, Of::Database, files);
            }
            (_, Some(_)) => left_over(findings, &path),
            _ => unknown(findings, &path),
        }
    }
    let named = named.unwrap_or_default();
    missing(findings, dir, &names, named.into_iter().map(segment_name));
}

/// What ROOT names has to be there.
fn missing(findings: &mut Findings<'_>, dir: &Path, names: &[PathBuf], named: impl Iterator<Item = PathBuf>) {
    for name in named.filter(|name| !names.contains(name)) {
        findings.damaged(&dir.join(name), "missing, although ROOT names it");
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
            _ => unknown(findings, &path),
        }
    }
    let named = named.unwrap_or_default().into_iter().map(|number| PathBuf::from(run_name(number)));
    missing(findings, dir, &names, named);
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
