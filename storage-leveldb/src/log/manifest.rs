//! Which segments the log consists of.
//!
//! ```text
//! log/MANIFEST    a marker file: codec bytes of the format, the purge point, and the segments, the oldest first
//! ```
//!
//! A segment is named here before anything is written to it, and until what it holds is purged or
//! stored elsewhere. The purge point is that up to which segments have been removed, so that what
//! they held is not missed.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::disk::GuardedDisk;
use crate::file::marker;
use crate::health::Fault;

/// The file's name.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// Version of what is stored in MANIFEST.
const FORMAT: u8 = 1;
const DATABASE: &str = "segment-";
const TABLE: &str = "table-";

/// Up to where a log is purged. Of two the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PurgePoint {
    /// The entries before this index are purged.
    pub(crate) end: u64,
    /// What the owner of the log keeps of the last of them; means nothing here.
    pub(crate) log_id: Bytes,
}

/// What a segment is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// A database: the one that is written, the one after it, and those that have not been stored
    /// as a table yet.
    Database,
    /// A table.
    Table,
}

/// Where a segment is. No number is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    pub(crate) number: u64,
    pub(crate) form: Form,
}

impl SegmentRecord {
    /// The name of its directory.
    pub(crate) fn name(self) -> PathBuf {
        let form = match self.form {
            Form::Database => DATABASE,
            Form::Table => TABLE,
        };
        format!("{form}{}", self.number).into()
    }

    /// The segment whose directory has this name.
    pub(crate) fn of_name(name: &Path) -> Option<Self> {
        let name = name.to_str()?;
        let numbered = |form, prefix| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some(Self { number, form })
        };
        numbered(Form::Database, DATABASE).or_else(|| numbered(Form::Table, TABLE))
    }

    /// The segments whose directories are in `dir`, named by MANIFEST or not.
    pub(crate) fn all_in(disk: &GuardedDisk, dir: &Path) -> Result<Vec<Self>, Fault> {
        Ok(disk.list(dir)?.iter().filter_map(|name| Self::of_name(name)).collect())
    }
}

/// Invariant: what was purged up to `purged` may be missing, and nothing else.
#[derive(Serialize, Deserialize)]
pub(crate) struct LogManifest {
    format: u8,
    pub(crate) purged: Option<PurgePoint>,
    /// The oldest first. The last ones may not have been begun.
    pub(crate) segments: Vec<SegmentRecord>,
}

impl LogManifest {
    /// Of these segments, nothing of which was removed.
    pub(crate) fn new(segments: Vec<SegmentRecord>) -> Self {
        Self { format: FORMAT, purged: None, segments }
    }

    /// What MANIFEST in `dir` says; `None` if there is none.
    pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Self>, Fault> {
        marker::read_value(disk, &dir.join(MANIFEST), "log", FORMAT)
    }

    /// From now on this is the log; durable when it returns.
    pub(crate) fn replace(&self, disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
        marker::replace_value(disk, &dir.join(MANIFEST), self)
    }
}
