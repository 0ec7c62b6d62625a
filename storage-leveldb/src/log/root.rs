//! Which segments the log consists of.
//!
//! ```text
//! log/ROOT    a marker file: codec bytes of the format, the last purged log id, and the segments, the oldest first
//! ```
//!
//! A segment is named here before anything is written to it, and until what it holds is purged or
//! stored elsewhere. The log id is that up to which segments have been removed, so that what they
//! held is not missed.

use std::path::{Path, PathBuf};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::LogIdOf;
use serde::{Deserialize, Serialize};

use crate::disk::GuardedDisk;
use crate::file::marker;
use crate::health::Fault;

pub(crate) const ROOT: &str = "ROOT";
/// Version of what is stored in ROOT.
const FORMAT: u8 = 1;
const DATABASE: &str = "segment-";
const RUN: &str = "run-";

/// What a segment is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// A database: the one that is written, the one after it, and those that have not been stored
    /// as a run yet.
    Database,
    /// A run.
    Run,
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
            Form::Run => RUN,
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
        numbered(Form::Database, DATABASE).or_else(|| numbered(Form::Run, RUN))
    }
}

/// Invariant: what was purged up to `purged` may be missing, and nothing else.
pub(crate) struct LogRoot<C: RaftTypeConfig> {
    pub(crate) purged: Option<LogIdOf<C>>,
    /// The oldest first. The last ones may not have been begun.
    pub(crate) segments: Vec<SegmentRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Stored<C: RaftTypeConfig> {
    format: u8,
    purged: Option<LogIdOf<C>>,
    segments: Vec<SegmentRecord>,
}

impl<C: RaftTypeConfig> LogRoot<C> {
    /// What ROOT in `dir` says; `None` if there is none.
    pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Self>, Fault> {
        let path = dir.join(ROOT);
        let Some(content) = marker::read(disk, &path)? else {
            return Ok(None);
        };
        if content.first() != Some(&FORMAT) {
            let reason = format!("log format {:?}; this version reads format {FORMAT} only", content.first());
            return Err(disk.other_format(&path, reason));
        }
        let Stored { purged, segments, .. } =
            codec::decode::<Stored<C>>(&content).map_err(|e| disk.damaged(&path, e))?;
        Ok(Some(Self { purged, segments }))
    }

    /// From now on this is the log; durable when it returns.
    pub(crate) fn replace(&self, disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
        let path = dir.join(ROOT);
        let (purged, segments) = (self.purged.clone(), self.segments.clone());
        let stored = Stored::<C> { format: FORMAT, purged, segments };
        let content = codec::encode(&stored).map_err(|e| disk.damaged(&path, e))?;
        marker::replace(disk, &path, &content)
    }

    /// The segments whose directories are in `dir`, named here or not.
    pub(crate) fn there(disk: &GuardedDisk, dir: &Path) -> Result<Vec<SegmentRecord>, Fault> {
        Ok(disk.list(dir)?.iter().filter_map(|name| SegmentRecord::of_name(name)).collect())
    }
}
