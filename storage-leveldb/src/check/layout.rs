//! What is in a storage directory, and which of it counts.
//!
//! Of the log, the segments that its MANIFEST names count, and of the state the tables that
//! MANIFEST names. If that file cannot be read, all of them do.

use std::path::{Path, PathBuf};

use super::files::PlannedFile;
use super::findings::Findings;
use super::leveldb::{self, Of};
use crate::file::marker;
use crate::log::{Form, LOG_MANIFEST, LogManifest, SegmentRecord};
use crate::lsm::manifest::{MANIFEST, Manifest};
use crate::lsm::table::{table_dir, table_number};
use crate::storage::is_formatted;

/// How FORMAT begins in every version.
const NAME: &[u8] = b"storage-leveldb ";

/// What is to be read.
pub(super) struct Plan {
    pub(super) files: Vec<PlannedFile>,
    /// The storage was once opened to the end: what is missing now is damage.
    pub(super) is_complete: bool,
}

pub(super) fn plan(findings: &mut Findings<'_>, dir: &Path) -> Plan {
    let mut files = Vec::new();
    let Some(is_complete) = format(findings, dir) else {
        return Plan { files, is_complete: true };
    };
    for name in findings.names(dir) {
        match name.to_str() {
            Some("LOCK" | "FORMAT" | "log" | "state") => {}
            Some("FORMAT.tmp") => findings.left_over(&dir.join(name)),
            _ => findings.unknown(&dir.join(name)),
        }
    }
    if !is_complete {
        findings.note(&dir.join("FORMAT"), "missing: the first start of this storage did not get to its end");
    }
    log(findings, &dir.join("log"), is_complete, &mut files);
    state(findings, &dir.join("state"), is_complete, &mut files);
    Plan { files, is_complete }
}

/// Whether the storage was ever complete; `None` if another version wrote it and nothing can be
/// said of the rest.
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
    let manifest = dir.join(LOG_MANIFEST);
    let there = marker(findings, &manifest);
    if is_complete && there == Some(None) {
        findings.damaged(&manifest, "missing");
    }
    let read = LogManifest::read(&findings.guarded(), dir);
    let named = findings.sound(read).flatten().map(|manifest| manifest.segments);
    let names = findings.names(dir);
    for name in &names {
        let path = dir.join(name);
        match (name.to_str(), SegmentRecord::of_name(name)) {
            (Some(LOG_MANIFEST), _) => {}
            (Some("MANIFEST.tmp"), _) => findings.left_over(&path),
            (_, Some(segment)) if named.as_ref().is_none_or(|named| named.contains(&segment)) => {
                let of = if segment.form == Form::Table { Of::Table } else { Of::Database };
                leveldb::plan(findings, &path, of, files);
            }
            (_, Some(_)) => findings.left_over(&path),
            _ => findings.unknown(&path),
        }
    }
    let named = named.unwrap_or_default();
    missing(findings, (dir, LOG_MANIFEST), &names, named.into_iter().map(SegmentRecord::name));
}

/// What `manifest` names has to be there.
fn missing(
    findings: &mut Findings<'_>,
    (dir, manifest): (&Path, &str),
    names: &[PathBuf],
    named: impl Iterator<Item = PathBuf>,
) {
    for name in named.filter(|name| !names.contains(name)) {
        findings.damaged(&dir.join(name), format!("missing, although {manifest} names it"));
    }
}

fn state(findings: &mut Findings<'_>, dir: &Path, is_complete: bool, files: &mut Vec<PlannedFile>) {
    let manifest = dir.join(MANIFEST);
    let there = marker(findings, &manifest);
    if is_complete && there == Some(None) {
        findings.damaged(&manifest, "missing");
    }
    let read = Manifest::read(&findings.guarded(), dir);
    let named: Option<Vec<u64>> = findings
        .sound(read)
        .flatten()
        .map(|manifest| manifest.tables.iter().map(|table| table.number).collect());
    let names = findings.names(dir);
    for name in &names {
        let path = dir.join(name);
        match (name.to_str(), table_number(name)) {
            (Some(MANIFEST), _) => {}
            (Some("MANIFEST.tmp"), _) => findings.left_over(&path),
            (_, Some(number)) if named.as_ref().is_none_or(|named| named.contains(&number)) => {
                leveldb::plan(findings, &path, Of::Table, files);
            }
            (_, Some(_)) => findings.left_over(&path),
            _ => findings.unknown(&path),
        }
    }
    let named = named.unwrap_or_default().into_iter().map(|number| PathBuf::from(table_dir(number)));
    missing(findings, (dir, MANIFEST), &names, named);
}
