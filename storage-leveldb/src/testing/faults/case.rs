//! The faults that are tried.

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::regions::region;
use crate::testing::sim_disk::{Failure, ReadFailure, SimDisk};

/// Damage to one file of a closed storage.
#[derive(Clone)]
pub(super) enum Damage {
    Flip(usize),
    Truncate(usize),
    Remove,
    /// The content it has on this earlier copy of the disk.
    Older(Arc<SimDisk>),
}

/// One fault.
#[derive(Clone)]
pub(super) enum Case {
    /// The n-th change or sync of a workload fails.
    Operation(u64, Failure),
    /// The n-th read of a workload fails.
    Read(u64, ReadFailure),
    /// The n-th read fails when the storage is opened and read.
    ReadAtOpen(u64, ReadFailure),
    /// The disk holds this many bytes.
    Capacity(u64),
    /// The n-th change or sync fails when a storage that was in use is opened after a crash, which
    /// this seed decided.
    OperationAtOpen(u64, u64, Failure),
    /// The same, on a disk of so many bytes.
    CapacityAtOpen(u64, u64),
    Damage(PathBuf, Damage),
}

impl Case {
    /// What it is counted as. `disk` is the undamaged one; no root names the directories
    /// `left_over` on it.
    pub(super) fn kind(&self, disk: &SimDisk, left_over: &BTreeSet<PathBuf>) -> String {
        match self {
            Self::Damage(path, _) if path.parent().is_some_and(|dir| left_over.contains(dir)) => {
                format!("left over {}", file_kind(path))
            }
            Self::Operation(_, failure) => format!("work, {}", failure_name(*failure)),
            Self::Read(_, failure) => format!("work, {}", read_failure_name(*failure)),
            Self::ReadAtOpen(_, failure) => format!("open and read, {}", read_failure_name(*failure)),
            Self::Capacity(_) => "work, disk full at a byte".to_owned(),
            Self::OperationAtOpen(_, _, failure) => format!("open after a crash, {}", failure_name(*failure)),
            Self::CapacityAtOpen(..) => "open after a crash, disk full at a byte".to_owned(),
            Self::Damage(path, damage) => {
                let kind = file_kind(path);
                match damage {
                    Damage::Flip(at) => {
                        let content = disk.read(path).unwrap_or_default();
                        format!("{kind}: flipped bit, {}", region(path, &content, *at))
                    }
                    Damage::Truncate(_) => format!("{kind}: truncated"),
                    Damage::Remove => format!("{kind}: missing"),
                    Damage::Older(_) => format!("{kind}: older version"),
                }
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(at, failure) => write!(f, "operation {at} of the work: {failure:?}"),
            Self::Read(at, failure) => write!(f, "read {at} of the work: {failure:?}"),
            Self::ReadAtOpen(at, failure) => write!(f, "read {at} of opening and reading: {failure:?}"),
            Self::Capacity(bytes) => write!(f, "a disk of {bytes} bytes"),
            Self::OperationAtOpen(crash, at, failure) => {
                write!(f, "operation {at} of opening after crash {crash}: {failure:?}")
            }
            Self::CapacityAtOpen(crash, bytes) => {
                write!(f, "a disk of {bytes} bytes, opened after crash {crash}")
            }
            Self::Damage(path, damage) => {
                let path = path.display();
                match damage {
                    Damage::Flip(at) => write!(f, "{path}, a flipped bit at {at}"),
                    Damage::Truncate(len) => write!(f, "{path} cut off at {len}"),
                    Damage::Remove => write!(f, "{path} is missing"),
                    Damage::Older(_) => write!(f, "{path} is an older version"),
                }
            }
        }
    }
}

fn failure_name(failure: Failure) -> String {
    match failure {
        Failure::Error(kind) => format!("{} at an operation", error_name(kind)),
        Failure::ShortWrite(kind) => format!("short write and {}", error_name(kind)),
        Failure::LostSync(kind) => format!("lost sync and {}", error_name(kind)),
        Failure::PowerLoss => "power loss".to_owned(),
    }
}

fn read_failure_name(failure: ReadFailure) -> String {
    match failure {
        ReadFailure::Error(kind) => format!("{} at a read", error_name(kind)),
        ReadFailure::Short => "short read".to_owned(),
    }
}

fn error_name(kind: ErrorKind) -> String {
    match kind {
        ErrorKind::Other => "EIO".to_owned(),
        ErrorKind::StorageFull => "ENOSPC".to_owned(),
        other => other.to_string(),
    }
}

/// The kind of a file, told by where it lies and its name.
fn file_kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let dir = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let dir = dir.split('-').next().unwrap_or_default();
    let extension = path.extension().map(|extension| format!("*.{}", extension.to_string_lossy()));
    let name = extension.unwrap_or_else(|| name.split('-').next().unwrap_or_default().to_owned());
    let dir = match dir {
        "db" => "state db",
        "table" if path.components().any(|part| part.as_os_str() == "log") => "log table",
        other => other,
    };
    format!("{dir}/{name}")
}
