//! Opening a log: its segments, its marks, and where it ends.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::LogIdOf;
use serde::de::DeserializeOwned;

use super::contents::Contents;
use super::key::Mark;
use super::marks::Marks;
use super::root::{Form, LogRoot, ROOT, SegmentRecord};
use super::segment::Segment;
use super::segments::Segments;
use super::tail::Tail;
use crate::disk::GuardedDisk;
use crate::engine::EngineFactory;
use crate::error::StorageError;

/// Segments, the oldest first.
type Row = VecDeque<Arc<Segment>>;

/// What is in a log's directory, found to be sound.
pub(super) struct Loaded<C: RaftTypeConfig> {
    pub(super) contents: Contents<C>,
    pub(super) marks: Marks,
    pub(super) segments: Segments,
    pub(super) active: Arc<Segment>,
    /// Those after it: one, or two if a crash came while one was being begun and the next one lay
    /// ready.
    pub(super) prepared: Row,
    pub(super) root: LogRoot<C>,
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

/// Opens the log; creates it if `may_create`, and begins its first segment if that was as far as
/// the creation came.
pub(super) fn load<C: RaftTypeConfig>(
    place: &Place<'_>,
    may_create: bool,
    tail_bytes: usize,
) -> Result<Loaded<C>, StorageError> {
    let Place { dir, disk, .. } = place;
    let there = LogRoot::<C>::there(disk, dir)?;
    let root = match LogRoot::<C>::read(disk, dir)? {
        Some(root) => root,
        None if may_create => create(place, &there)?,
        None => {
            let reason = "missing: the database is lost; replace this node by one with a new id";
            return Err(disk.damaged(&dir.join(ROOT), reason).into());
        }
    };
    place.refuse_older_root(&root, &there)?;
    let (begun, mut rest) = place.open_all(&root)?;
    let active = match begun.back() {
        Some(active) => active.clone(),
        None => place.begin_first(may_create, rest.pop_front())?,
    };
    let begun = if begun.is_empty() { vec![active.clone()] } else { begun.into() };
    let segments = Segments::new(begun);
    let (contents, marks) = place.contents(&segments, &active, &root, tail_bytes)?;
    let next_number = number_behind(root.segments.iter().chain(&there));
    Ok(Loaded { contents, marks, segments, active, prepared: rest, root, next_number })
}

/// A first segment, and ROOT. Nothing that is there counts: no segment is begun before ROOT names
/// it.
fn create<C: RaftTypeConfig>(place: &Place<'_>, there: &[SegmentRecord]) -> Result<LogRoot<C>, StorageError> {
    let Place { dir, disk, factory, .. } = place;
    disk.create_dir(dir)?;
    let is_used = |record: &&SegmentRecord| record.form == Form::Run || place.has_been_begun(**record);
    if let Some(used) = there.iter().find(is_used) {
        let reason = format!("missing, although {} is in use", used.name().display());
        return Err(disk.damaged(&dir.join(ROOT), reason).into());
    }
    let record = SegmentRecord { number: number_behind(there.iter()), form: Form::Database };
    drop(Segment::create(factory, disk, dir, record)?);
    let root = LogRoot { purged: None, segments: vec![record] };
    root.replace(disk, dir)?;
    Ok(root)
}

fn number_behind<'a>(records: impl Iterator<Item = &'a SegmentRecord>) -> u64 {
    records.map(|record| record.number).max().unwrap_or(0).saturating_add(1)
}

impl Place<'_> {
    /// A newer database that ROOT does not name was being prepared, or is half removed, unless it
    /// has been begun: ROOT named it then.
    fn refuse_older_root<C: RaftTypeConfig>(
        &self,
        root: &LogRoot<C>,
        there: &[SegmentRecord],
    ) -> Result<(), StorageError> {
        let is_database = |record: &&SegmentRecord| record.form == Form::Database;
        let newest = root.segments.iter().filter(is_database).map(|record| record.number).max();
        for record in there.iter().filter(is_database).filter(|record| Some(record.number) > newest) {
            if self.has_been_begun(*record) {
                let reason = format!("older than the log: it does not name {}", record.name().display());
                return Err(self.disk.damaged(&self.dir.join(ROOT), reason).into());
            }
        }
        Ok(())
    }

    /// Whatever is wrong with one that never counted is no fault.
    fn has_been_begun(&self, record: SegmentRecord) -> bool {
        let dir = self.dir.join(record.name());
        let start = || match self.spectator.exists(&dir)? {
            true => self.spectator.open(&dir)?.get(&Mark::Start.key()),
            false => Ok(None),
        };
        start().is_ok_and(|start| start.is_some())
    }

    /// The segments that have been begun, and those that have not: they come last.
    fn open_all<C: RaftTypeConfig>(&self, root: &LogRoot<C>) -> Result<(Row, Row), StorageError> {
        let open = |record: &SegmentRecord| Segment::open(self.factory, self.disk, self.dir, *record);
        let all = root.segments.iter().map(|record| open(record).map(Arc::new));
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let (begun, rest): (Row, Row) = all.iter().cloned().partition(|segment| segment.is_begun());
        if let Some(early) = all.iter().take(begun.len()).find(|segment| !segment.is_begun()) {
            let reason = "holds nothing, although later segments do";
            return Err(self.disk.damaged(&early.dir, reason).into());
        }
        Ok((begun, rest))
    }

    /// The first segment of a log that nothing was written to.
    fn begin_first(
        &self,
        may_create: bool,
        first: Option<Arc<Segment>>,
    ) -> Result<Arc<Segment>, StorageError> {
        let not_begun = || self.disk.damaged(&self.dir.join(ROOT), "names no segment that was begun");
        let segment = first.filter(|_| may_create).ok_or_else(not_begun)?;
        segment.begin(&Marks::default())?;
        Ok(segment)
    }

    fn contents<C: RaftTypeConfig>(
        &self,
        segments: &Segments,
        active: &Segment,
        root: &LogRoot<C>,
        tail_bytes: usize,
    ) -> Result<(Contents<C>, Marks), StorageError> {
        let (vote, vote_record) = self.mark(active, Mark::Vote)?;
        let (committed, committed_record) = self.mark(active, Mark::Committed)?;
        let (purged, _): (Option<LogIdOf<C>>, _) = self.mark(active, Mark::Purged)?;
        // The mark may be older than ROOT: it is not synced.
        let purged = purged.max(root.purged.clone());
        let purged_record = purged.as_ref().map(codec::encode).transpose();
        let purged_record = purged_record.map_err(|e| self.disk.damaged(self.dir, e))?.map(Bytes::from);
        let first = match &purged {
            Some(log_id) => Some(log_id.index.saturating_add(1)),
            None => segments.first_record()?,
        };
        let start = first.unwrap_or(0);
        let end = end_of_entries(self, segments, start)?;
        // A log that was truncated to nothing may begin again anywhere.
        let end = if first.is_some() { end } else { start };
        let last = match end.checked_sub(1).filter(|_| end > start) {
            Some(index) => Some(self.log_id_of::<C>(segments, index)?),
            None => purged.clone(),
        };
        let tail = Tail::new(end, tail_bytes);
        let marks = Marks { vote: vote_record, purged: purged_record, committed: committed_record, end };
        Ok((Contents { vote, committed, purged, last, first: start, tail }, marks))
    }

    fn log_id_of<C: RaftTypeConfig>(
        &self,
        segments: &Segments,
        index: u64,
    ) -> Result<LogIdOf<C>, StorageError> {
        let record = segments.get(index)?.unwrap_or_default();
        let damaged = |reason: String| self.disk.damaged(self.dir, format!("log entry {index} {reason}"));
        let entry: C::Entry = codec::decode(&record).map_err(|e| damaged(format!("cannot be read: {e}")))?;
        if entry.index() != index {
            return Err(damaged(format!("says it is entry {}", entry.index())).into());
        }
        Ok(entry.log_id())
    }

    /// A mark, and its record.
    fn mark<T: DeserializeOwned>(
        &self,
        segment: &Segment,
        mark: Mark,
    ) -> Result<(Option<T>, Option<Bytes>), StorageError> {
        let Some(record) = segment.mark(mark)? else {
            return Ok((None, None));
        };
        let damaged = |e| self.disk.damaged(&segment.dir, format!("{mark:?} mark: {e}"));
        Ok((Some(codec::decode(&record).map_err(damaged)?), Some(record)))
    }
}

/// The index behind the last entry of a log that begins with entry `start`.
fn end_of_entries(place: &Place<'_>, segments: &Segments, start: u64) -> Result<u64, StorageError> {
    let mut end = start;
    for (segment, range) in segments.covers() {
        let Range { start: first, end: next } = range;
        // Whatever was purged may be missing.
        if first > end {
            let reason = format!("the log ends at entry {end}, and goes on at {first}");
            return Err(place.disk.damaged(place.dir, reason).into());
        }
        if next > start && next > first {
            end = segment.end(range)?.unwrap_or(first).max(start);
        }
    }
    Ok(end)
}
