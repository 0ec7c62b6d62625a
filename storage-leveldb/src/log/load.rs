//! Opening a log: its segments, its marks, and where it ends.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::key::Mark;
use super::manifest::{MANIFEST, Manifest, segment_name, segments_in};
use super::marks::Marks;
use super::request::StoredLogId;
use super::segment::Segment;
use super::segments::Segments;
use crate::disk::GuardedDisk;
use crate::engine::{Batch, Durability, EngineFactory, latched};
use crate::error::StorageError;

/// What is in a log's directory, found to be sound.
pub(super) struct Loaded {
    /// The first entry's index; where the log ends, if there are none.
    pub(super) first: u64,
    pub(super) marks: Marks,
    pub(super) purged: Option<StoredLogId>,
    /// The last entry, if there is one.
    pub(super) last: Option<StoredLogId>,
    pub(super) segments: Segments,
    /// The newest of them.
    pub(super) active: Arc<Segment>,
    /// Without segments that were never begun: they are made anew.
    pub(super) manifest: Manifest,
    /// No directory has this number or a greater one.
    pub(super) next_number: u64,
}

/// Where a log lies, and what opens it.
pub(super) struct Place<'a> {
    pub(super) dir: &'a Path,
    pub(super) disk: &'a GuardedDisk,
    pub(super) factory: &'a Arc<dyn EngineFactory>,
    /// Opens databases without changing anything on the disk, and latches nothing.
    pub(super) spectator: &'a dyn EngineFactory,
}

/// What tells the index in the record of a log id; an error says what is wrong with the record.
pub(super) type IndexOf = fn(&[u8]) -> Result<u64, String>;

/// Opens the log; creates it if `may_create`, and begins its first segment if that was as far as
/// the creation came.
pub(super) fn load(place: &Place<'_>, index_of: IndexOf, may_create: bool) -> Result<Loaded, StorageError> {
    let Place { dir, disk, .. } = place;
    disk.create_dir(dir)?;
    let there = segments_in(disk, dir)?;
    let manifest = match Manifest::read(disk, dir)? {
        Some(manifest) => manifest,
        None if may_create => place.nothing_is_begun(&there)?,
        None => {
            let reason = "missing: the database is lost; replace this node by one with a new id";
            return Err(disk.damaged(&dir.join(MANIFEST), reason).into());
        }
    };
    place.refuse_older_manifest(&manifest, &there)?;
    let mut next_number = manifest.segments.iter().chain(&there).max().map_or(1, |number| number + 1);
    let mut begun = place.open_begun(&manifest)?;
    let mut manifest =
        Manifest { segments: begun.iter().map(|segment| segment.number).collect(), ..manifest };
    if begun.is_empty() {
        if !may_create {
            return Err(disk.damaged(&dir.join(MANIFEST), "names no segment that was begun").into());
        }
        begun.push(Arc::new(place.begin_first(next_number)?));
        manifest.segments.push(next_number);
        next_number += 1;
    }
    let segments = Segments::new(begun);
    let active = segments.newest().cloned();
    let active = active.ok_or_else(|| disk.damaged(dir, "no segment to be written"))?;
    place.contents(segments, active, manifest, next_number, index_of)
}

impl Place<'_> {
    /// The manifest of a log that has none because it was never written to: no segment is begun
    /// before the manifest names it.
    fn nothing_is_begun(&self, there: &[u64]) -> Result<Manifest, StorageError> {
        if let Some(used) = there.iter().find(|number| self.has_been_begun(**number)) {
            let reason = format!("missing, although {} is in use", segment_name(*used).display());
            return Err(self.disk.damaged(&self.dir.join(MANIFEST), reason).into());
        }
        Ok(Manifest::default())
    }

    /// A newer segment that the manifest does not name was being prepared, or is half removed,
    /// unless it has been begun: the manifest named it then.
    fn refuse_older_manifest(&self, manifest: &Manifest, there: &[u64]) -> Result<(), StorageError> {
        let newest = manifest.segments.last();
        for number in there.iter().filter(|number| Some(*number) > newest) {
            if self.has_been_begun(*number) {
                let name = segment_name(*number);
                let reason = format!("older than the log: it does not name {}", name.display());
                return Err(self.disk.damaged(&self.dir.join(MANIFEST), reason).into());
            }
        }
        Ok(())
    }

    /// Whatever is wrong with one that never counted is no fault.
    fn has_been_begun(&self, number: u64) -> bool {
        let dir = self.dir.join(segment_name(number));
        let start = || match self.spectator.exists(&dir)? {
            true => self.spectator.open(&dir)?.get(&Mark::Start.key()),
            false => Ok(None),
        };
        start().is_ok_and(|start| start.is_some())
    }

    /// The segments that have been begun. Those that have not come last, and are dropped.
    fn open_begun(&self, manifest: &Manifest) -> Result<Vec<Arc<Segment>>, StorageError> {
        let open = |number: &u64| Segment::open(self.factory, self.disk, self.dir, *number).map(Arc::new);
        let mut all = manifest.segments.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let count = all.iter().filter(|segment| segment.is_begun()).count();
        if let Some(early) = all.iter().take(count).find(|segment| !segment.is_begun()) {
            let reason = "holds nothing, although later segments do";
            return Err(self.disk.damaged(&early.dir, reason).into());
        }
        all.truncate(count);
        Ok(all)
    }

    /// The first segment of a log that nothing was written to.
    fn begin_first(&self, number: u64) -> Result<Segment, StorageError> {
        let dir = self.dir.join(segment_name(number));
        let mut engine = latched(self.disk, &dir, self.factory.open(&dir))?;
        latched(self.disk, &dir, engine.write(Batch::default(), Durability::Synced))?;
        Manifest { purged: None, segments: vec![number] }.replace(self.disk, self.dir)?;
        let mut batch = Batch::default();
        Marks::default().begin(&mut batch);
        latched(self.disk, &dir, engine.write(batch, Durability::Synced))?;
        drop(engine);
        Segment::open(self.factory, self.disk, self.dir, number)
    }

    fn contents(
        &self,
        segments: Segments,
        active: Arc<Segment>,
        manifest: Manifest,
        next_number: u64,
        index_of: IndexOf,
    ) -> Result<Loaded, StorageError> {
        // The mark may be older than the manifest: it is not synced.
        let marked = self.log_id(&active, Mark::Purged, index_of)?;
        let purged = [manifest.purged.clone(), marked].into_iter().flatten().max_by_key(|id| id.index);
        let committed = active.mark(Mark::Committed)?;
        let first_entry = match &purged {
            Some(purged) => Some(purged.index.saturating_add(1)),
            None => segments.first_record()?,
        };
        let first = first_entry.unwrap_or(0);
        // A log that was truncated to nothing may begin again anywhere.
        let end = if first_entry.is_some() { self.end_of_entries(&segments, first)? } else { first };
        let last = match end.checked_sub(1).filter(|_| end > first) {
            Some(index) => Some(StoredLogId { index, record: segments.get(index)?.unwrap_or_default() }),
            None => None,
        };
        let purged_record = purged.as_ref().map(|purged| purged.record.clone());
        let marks = Marks { vote: active.mark(Mark::Vote)?, purged: purged_record, committed, end };
        Ok(Loaded { first, marks, purged, last, segments, active, manifest, next_number })
    }

    fn log_id(
        &self,
        segment: &Segment,
        mark: Mark,
        index_of: IndexOf,
    ) -> Result<Option<StoredLogId>, StorageError> {
        let Some(record) = segment.mark(mark)? else { return Ok(None) };
        let damaged = |e| self.disk.damaged(&segment.dir, format!("{mark:?} mark: {e}"));
        Ok(Some(StoredLogId { index: index_of(&record).map_err(damaged)?, record }))
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
}
