//! Opening a log: its segments, its hard state, and where it ends.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::hard_state::HardState;
use super::key::MetaKey;
use super::manifest::{Form, LogManifest, MANIFEST, PurgePoint, SegmentRecord};
use super::segment::Segment;
use super::segments::Segments;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;

/// What is in a log's directory, found to be sound.
pub(super) struct Recovered {
    pub(super) hard_state: HardState,
    pub(super) purged: Option<PurgePoint>,
    /// The indexes of its entries.
    pub(super) entries: Range<u64>,
    /// That of the last entry.
    pub(super) last_record: Option<Bytes>,
    pub(super) segments: Segments,
    pub(super) active: Arc<Segment>,
    /// Those after it: one, or two if a crash came while one was being begun and the next one lay
    /// ready.
    pub(super) prepared: VecDeque<Arc<Segment>>,
    pub(super) manifest: LogManifest,
    /// No directory has this number or a greater one.
    pub(super) next_number: u64,
}

/// Where a log lies, and what opens it.
pub(super) struct LogDir<'a> {
    pub(super) dir: &'a Path,
    pub(super) disk: &'a GuardedDisk,
    pub(super) factory: &'a Arc<dyn EngineFactory>,
    /// Opens databases without changing anything on the disk, and latches nothing.
    pub(super) read_only: &'a dyn EngineFactory,
}

impl LogDir<'_> {
    /// Opens the log; creates it if `may_create`, and begins its first segment if that was as far
    /// as the creation came.
    pub(super) fn recover(&self, may_create: bool) -> Result<Recovered, StorageError> {
        let Self { dir, disk, .. } = self;
        let there = SegmentRecord::all_in(disk, dir)?;
        let manifest = match LogManifest::read(disk, dir)? {
            Some(manifest) => manifest,
            None if may_create => self.create(&there)?,
            None => {
                let reason = "missing: the database is lost; replace this node by one with a new id";
                return Err(disk.damaged(&dir.join(MANIFEST), reason).into());
            }
        };
        self.refuse_older_manifest(&manifest, &there)?;
        let (mut begun, mut prepared) = self.open_all(&manifest)?;
        let active = match begun.last() {
            Some(active) => active.clone(),
            None => self.begin_first(may_create, prepared.pop_front())?,
        };
        if begun.is_empty() {
            begun.push(active.clone());
        }
        let segments = Segments::new(begun);
        let purged = self.purged(&active, &manifest)?;
        let entries = self.entries(&segments, purged.as_ref())?;
        let last_record = match entries.clone().next_back() {
            Some(last) => Some(self.record_of(&segments, last)?),
            None => None,
        };
        let record = purged.as_ref().map(codec::encode).transpose();
        let hard_state = HardState {
            vote: active.record_at(MetaKey::Vote)?,
            purged: record.map_err(|e| disk.damaged(dir, e))?.map(Bytes::from),
            committed: active.record_at(MetaKey::Committed)?,
            end: entries.end,
        };
        let next_number = self.number_behind(manifest.segments.iter().chain(&there))?;
        Ok(Recovered {
            hard_state,
            purged,
            entries,
            last_record,
            segments,
            active,
            prepared,
            manifest,
            next_number,
        })
    }

    /// A first segment, and MANIFEST. Nothing that is there counts: no segment is begun before
    /// MANIFEST names it.
    fn create(&self, there: &[SegmentRecord]) -> Result<LogManifest, StorageError> {
        let Self { dir, disk, factory, .. } = self;
        disk.create_dir(dir)?;
        let is_used = |record: &&SegmentRecord| record.form == Form::Table || self.has_been_begun(**record);
        if let Some(used) = there.iter().find(is_used) {
            let reason = format!("missing, although {} is in use", used.name().display());
            return Err(disk.damaged(&dir.join(MANIFEST), reason).into());
        }
        let record = SegmentRecord { number: self.number_behind(there.iter())?, form: Form::Database };
        drop(Segment::create(factory, disk, dir, record)?);
        let manifest = LogManifest::new(vec![record]);
        manifest.replace(disk, dir)?;
        Ok(manifest)
    }

    fn number_behind<'a>(
        &self,
        records: impl Iterator<Item = &'a SegmentRecord>,
    ) -> Result<u64, StorageError> {
        let greatest = records.map(|record| record.number).max().unwrap_or(0);
        let no_more = || self.disk.damaged(self.dir, format!("segment {greatest} is the last there can be"));
        Ok(greatest.checked_add(1).ok_or_else(no_more)?)
    }

    /// A newer database that MANIFEST does not name was being prepared, or is half removed, unless
    /// it has been begun: MANIFEST named it then.
    fn refuse_older_manifest(
        &self,
        manifest: &LogManifest,
        there: &[SegmentRecord],
    ) -> Result<(), StorageError> {
        let is_database = |record: &&SegmentRecord| record.form == Form::Database;
        let newest = manifest.segments.iter().filter(is_database).map(|record| record.number).max();
        for record in there.iter().filter(is_database).filter(|record| Some(record.number) > newest) {
            if self.has_been_begun(*record) {
                let reason = format!("older than the log: it does not name {}", record.name().display());
                return Err(self.disk.damaged(&self.dir.join(MANIFEST), reason).into());
            }
        }
        Ok(())
    }

    /// Whatever is wrong with one that never counted is no fault.
    fn has_been_begun(&self, record: SegmentRecord) -> bool {
        let dir = self.dir.join(record.name());
        let start = || match self.read_only.exists(&dir)? {
            true => self.read_only.open(&dir)?.get(&MetaKey::Start.key()),
            false => Ok(None),
        };
        start().is_ok_and(|start| start.is_some())
    }

    /// The segments that have been begun, and those that have not: they come last.
    fn open_all(&self, manifest: &LogManifest) -> Result<Opened, StorageError> {
        let open = |record: &SegmentRecord| Segment::open(self.factory, self.disk, self.dir, *record);
        let (mut begun, mut rest) = (Vec::new(), VecDeque::new());
        for segment in manifest.segments.iter().map(open) {
            let segment = Arc::new(segment?);
            if !segment.is_begun() {
                rest.push_back(segment);
            } else if let Some(early) = rest.front() {
                let reason = "holds nothing, although later segments do";
                return Err(self.disk.damaged(&early.dir, reason).into());
            } else {
                begun.push(segment);
            }
        }
        Ok((begun, rest))
    }

    /// The first segment of a log that nothing was written to.
    fn begin_first(
        &self,
        may_create: bool,
        first: Option<Arc<Segment>>,
    ) -> Result<Arc<Segment>, StorageError> {
        let not_begun = || self.disk.damaged(&self.dir.join(MANIFEST), "names no segment that was begun");
        let segment = first.filter(|_| may_create).ok_or_else(not_begun)?;
        segment.begin(&HardState::default())?;
        Ok(segment)
    }

    /// The later of what the newest segment and MANIFEST say: that in the segment is not synced.
    fn purged(&self, active: &Segment, manifest: &LogManifest) -> Result<Option<PurgePoint>, StorageError> {
        let record = active.record_at(MetaKey::Purged)?;
        let point = record.map(|record| codec::decode(&record)).transpose();
        let point: Option<PurgePoint> =
            point.map_err(|e| self.disk.damaged(&active.dir, format!("the purged id: {e}")))?;
        Ok(point.max(manifest.purged.clone()))
    }

    /// The indexes of the entries.
    fn entries(&self, segments: &Segments, purged: Option<&PurgePoint>) -> Result<Range<u64>, StorageError> {
        let first = match purged {
            Some(point) => Some(point.end),
            None => segments.first_record()?,
        };
        // A log that was truncated to nothing may begin again anywhere.
        let start = first.unwrap_or(0);
        let end = self.end_of_entries(segments, start)?;
        Ok(start..if first.is_some() { end } else { start })
    }

    /// The index behind the last entry of a log that begins with entry `start`.
    fn end_of_entries(&self, segments: &Segments, start: u64) -> Result<u64, StorageError> {
        let mut end = start;
        for (segment, range) in segments.covers() {
            let Range { start: first, end: next } = range;
            // Whatever was purged may be missing.
            if first > end {
                let reason = format!("the log ends at entry {end}, and goes on at {first}");
                return Err(self.disk.damaged(self.dir, reason).into());
            }
            if next > start && next > first {
                end = segment.end(range)?.unwrap_or(first).max(start);
            }
        }
        Ok(end)
    }

    /// That of the last entry, which must be there.
    fn record_of(&self, segments: &Segments, last: u64) -> Result<Bytes, StorageError> {
        let missing = || self.disk.damaged(self.dir, format!("log entry {last} is missing"));
        Ok(segments.get(last)?.ok_or_else(missing)?)
    }
}

/// The segments that have been begun, and those that lie ready.
type Opened = (Vec<Arc<Segment>>, VecDeque<Arc<Segment>>);
