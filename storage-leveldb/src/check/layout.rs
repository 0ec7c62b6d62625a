//! What is in a storage directory, and which of it counts.
//!
//! What counts is decided by the code that a start runs, on an overlay: what that removes is left over and does not count.
//! Where a marker names what is not there a start would refuse, and everything counts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{PlannedFile, What};
use super::findings::{Findings, guarded};
use super::leveldb;
use crate::disk::{Disk, GuardedDisk, OverlayDisk};
use crate::error::StorageError;
use crate::file::marker;
use crate::snapshot::SnapshotDirectory;
use crate::state::StateDirectory;
use crate::storage::check_format;

/// How FORMAT begins in every version.
const NAME: &[u8] = b"storage-leveldb ";
/// Markers are all that is written before the contents are looked at.
const MAX_MARKER_BYTES: u64 = 1 << 20;

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
    for name in names(findings, dir) {
        match name.to_str() {
            Some("LOCK" | "FORMAT" | "log" | "state" | "snapshot") => {}
            Some("FORMAT.tmp") => left_over(findings, &dir.join(name)),
            _ => unknown(findings, &dir.join(name)),
        }
    }
    if !is_complete {
        findings.note(&dir.join("FORMAT"), "missing: the first start of this storage did not get to its end");
    }
    database(findings, &dir.join("log"), is_complete, &mut files);
    state(findings, &dir.join("state"), is_complete, &mut files);
    snapshots(findings, &dir.join("snapshot"), is_complete, &mut files);
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
            findings.opened(&path, known).map(|is_new| !is_new)
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
        leveldb::plan(findings, dir, files);
    }
}

fn state(findings: &mut Findings<'_>, dir: &Path, is_complete: bool, files: &mut Vec<PlannedFile>) {
    marker(findings, &dir.join("ACTIVE"));
    let open = |disk: GuardedDisk| {
        let directory = StateDirectory::open(dir, disk.clone(), !is_complete)?;
        let active = directory.active()?;
        if !is_complete || !disk.list(&active)?.is_empty() {
            directory.remove_garbage()?;
        }
        Ok(active)
    };
    let (counting, active) = after_start(findings, dir, open);
    for name in names(findings, dir) {
        let path = dir.join(&name);
        match name.to_str() {
            Some("ACTIVE") => {}
            Some("ACTIVE.tmp") => left_over(findings, &path),
            Some(database) if database.starts_with("db-") || database.starts_with("checkpoint-") => {
                if !counting.contains(&name) {
                    left_over(findings, &path);
                } else if active.as_ref() != Some(&path) {
                    leveldb::plan(findings, &path, files);
                }
            }
            _ => unknown(findings, &path),
        }
    }
    if let Some(active) = active {
        database(findings, &active, is_complete, files);
    }
}

fn snapshots(findings: &mut Findings<'_>, dir: &Path, is_complete: bool, files: &mut Vec<PlannedFile>) {
    let active = marker(findings, &dir.join("ACTIVE")).flatten().unwrap_or_default();
    let named = dir.join(String::from_utf8_lossy(&active).into_owned());
    let is_missing = active.ends_with(b".snap") && findings.disk().len(&named).is_err();
    if is_missing {
        findings.damaged(&named, "missing, although ACTIVE names it");
    }
    let open = |disk| {
        let directory = SnapshotDirectory::open(dir, disk, !is_complete)?;
        if is_missing { Ok(()) } else { directory.remove_garbage() }
    };
    let (counting, _) = after_start(findings, dir, open);
    for name in names(findings, dir) {
        let path = dir.join(&name);
        let told = name.to_str().and_then(|name| name.strip_suffix(".snap")?.split_once('-')?.1.parse().ok());
        match told {
            _ if name == Path::new("ACTIVE") => {}
            _ if name == Path::new("ACTIVE.tmp") || !counting.contains(&name) => left_over(findings, &path),
            Some(told) => files.push(PlannedFile::new(findings, path, What::Snapshot { told_bytes: told })),
            None => unknown(findings, &path),
        }
    }
}

/// What is in a directory after `open` has tidied it as a start does, and what it answers. If it cannot be opened, everything
/// counts.
fn after_start<T>(
    findings: &mut Findings<'_>,
    dir: &Path,
    open: impl FnOnce(GuardedDisk) -> Result<T, StorageError>,
) -> (Vec<PathBuf>, Option<T>) {
    let overlay = OverlayDisk::new(findings.disk(), MAX_MARKER_BYTES);
    let opened = findings.opened(dir, open(guarded(Arc::new(overlay.clone()))));
    (overlay.list(dir).unwrap_or_default(), opened)
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
