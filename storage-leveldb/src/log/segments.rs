//! The segments that have been begun, as one log.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::key;
use super::segment::Segment;
use crate::engine::ScanLimit;
use crate::error::StorageError;

/// The oldest first. Cheap to clone; a clone keeps what it names from being removed.
///
/// Invariant: which segment has an entry is told by their starts alone: it is the newest that starts at it or before.
#[derive(Clone)]
pub(crate) struct Segments(Vec<Arc<Segment>>);

impl Segments {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self(segments)
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Segment>> {
        self.0.last()
    }

    /// Each segment, and the entries that count in it: from where to where.
    pub(crate) fn covers(&self) -> Vec<(Arc<Segment>, std::ops::Range<u64>)> {
        let mut end = u64::MAX;
        let mut covers = Vec::with_capacity(self.0.len());
        for segment in self.0.iter().rev() {
            let start = segment.start().min(end);
            covers.push((segment.clone(), start..end));
            end = start;
        }
        covers.reverse();
        covers
    }

    /// The segment that has entry `index` if any has, and where those end that are there.
    fn covering(&self, index: u64) -> Option<(Arc<Segment>, u64)> {
        let covers = self.covers().into_iter().find(|(_, range)| range.contains(&index));
        covers.map(|(segment, range)| (segment, range.end))
    }

    pub(crate) fn get(&self, index: u64) -> Result<Option<Bytes>, StorageError> {
        self.covering(index).map_or(Ok(None), |(segment, _)| segment.get(index))
    }

    /// The first index that has a record.
    pub(super) fn first_record(&self) -> Result<Option<u64>, StorageError> {
        for (segment, range) in self.covers() {
            let found =
                segment.scan(&key::entries(range.start, range.end), ScanLimit { pairs: 1, bytes: 1 })?;
            if let Some((key, _)) = found.first() {
                return Ok(key::index_of(key));
            }
        }
        Ok(None)
    }

    /// Records of the entries `start..end` from `start` on, until they add up to `limit_bytes`, at least one; those
    /// before the first that has none.
    pub(super) fn records(
        &self,
        start: u64,
        end: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let (mut records, mut bytes, mut next) = (Vec::new(), 0_usize, start);
        while next < end && (records.is_empty() || bytes < limit_bytes) {
            let Some((segment, segment_end)) = self.covering(next) else { break };
            let limit = ScanLimit { pairs: usize::MAX, bytes: limit_bytes.saturating_sub(bytes).max(1) };
            let before = next;
            for (key, record) in segment.scan(&key::entries(next, end.min(segment_end)), limit)? {
                bytes = bytes.saturating_add(key.len()).saturating_add(record.len());
                let is_too_much = bytes > limit_bytes && !records.is_empty();
                if is_too_much || key::index_of(&key) != Some(next) {
                    return Ok(records);
                }
                records.push(record);
                next = next.saturating_add(1);
            }
            if next == before {
                break;
            }
        }
        Ok(records)
    }
}

/// The segments behind a lock that is held for memory operations only.
pub(crate) struct SharedSegments(RwLock<Arc<Segments>>);

impl SharedSegments {
    pub(super) fn new(segments: Segments) -> Self {
        Self(RwLock::new(Arc::new(segments)))
    }

    pub(super) fn get(&self) -> Arc<Segments> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut Arc::make_mut(&mut segments).0);
    }

    /// A segment has been begun.
    pub(super) fn push(&self, segment: Arc<Segment>) {
        self.change(|segments| segments.push(segment));
    }

    /// Segments that do not count any more.
    pub(super) fn remove(&self, removed: &[Arc<Segment>]) {
        self.change(|segments| {
            segments.retain(|segment| removed.iter().all(|gone| !Arc::ptr_eq(gone, segment)));
        });
    }

    /// What was in `old` is in `new`.
    pub(super) fn replace(&self, old: &Arc<Segment>, new: &Arc<Segment>) {
        self.change(|segments| {
            for segment in segments.iter_mut().filter(|segment| Arc::ptr_eq(segment, old)) {
                *segment = new.clone();
            }
        });
    }
}
