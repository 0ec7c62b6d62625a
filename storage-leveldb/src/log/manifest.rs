//! Which segments the log consists of.
//!
//! ```text
//! log/ROOT    a marker file: codec bytes of the format, the last purged log id, and the numbers of the segments, the oldest first
//! ```
//!
//! A segment is named here before anything is written to it, and until what it holds is purged. The
//! log id is that up to which segments have been removed, so that what they held is not missed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::request::StoredLogId;
use crate::disk::GuardedDisk;
use crate::file::marker;
use crate::health::Fault;

pub(crate) const MANIFEST: &str = "ROOT";
/// Version of what is stored in it.
const FORMAT: u8 = 1;
const SEGMENT: &str = "segment-";

/// The name of the directory of segment `number`.
pub(crate) fn segment_name(number: u64) -> PathBuf {
    format!("{SEGMENT}{number}").into()
}

/// The number of the segment whose directory has this name.
pub(crate) fn segment_number(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix(SEGMENT)?.parse().ok()
}

/// The numbers of the segments whose directories are in `dir`, whether they count or not.
pub(crate) fn segments_in(disk: &GuardedDisk, dir: &Path) -> Result<Vec<u64>, Fault> {
    Ok(disk.list(dir)?.iter().filter_map(|name| segment_number(name)).collect())
}

/// Invariants: what was purged up to `purged` may be missing, and nothing else; no number is used
/// twice, and a newer segment has a greater one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manifest {
    pub(crate) purged: Option<StoredLogId>,
    /// The oldest first. The last ones may not have been begun.
    pub(crate) segments: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u8,
    /// Index and record.
    purged: Option<(u64, Vec<u8>)>,
    segments: Vec<u64>,
}

impl Manifest {
    /// What the manifest in `dir` says; `None` if there is none.
    pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Self>, Fault> {
        let path = dir.join(MANIFEST);
        let Some(content) = marker::read(disk, &path)? else {
            return Ok(None);
        };
        if content.first() != Some(&FORMAT) {
            let reason = format!("log format {:?}; this version reads format {FORMAT} only", content.first());
            return Err(disk.damaged(&path, reason));
        }
        let Stored { purged, segments, .. } =
            codec::decode::<Stored>(&content).map_err(|e| disk.damaged(&path, e))?;
        if !segments.is_sorted_by(|a, b| a < b) {
            return Err(disk.damaged(&path, "the numbers of the segments do not ascend"));
        }
        let purged = purged.map(|(index, record)| StoredLogId { index, record: record.into() });
        Ok(Some(Self { purged, segments }))
    }

    /// From now on this is the log; durable when it returns.
    pub(crate) fn replace(&self, disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
        debug_assert!(self.segments.is_sorted_by(|a, b| a < b), "a newer segment has a greater number");
        let path = dir.join(MANIFEST);
        let purged = self.purged.as_ref().map(|log_id| (log_id.index, log_id.record.to_vec()));
        let stored = Stored { format: FORMAT, purged, segments: self.segments.clone() };
        let content = codec::encode(&stored).map_err(|e| disk.damaged(&path, e))?;
        marker::replace(disk, &path, &content)
    }

    /// Segments up to this entry have been removed, or are about to be.
    pub(super) fn has_purged(&mut self, purged: Option<&StoredLogId>) {
        if purged.map(|log_id| log_id.index) > self.purged.as_ref().map(|log_id| log_id.index) {
            self.purged = purged.cloned();
        }
    }
}
