//! The segments that have been begun, as one log.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::entry_block::MAX_BLOCK_BYTES;
use super::segment::Segment;
use crate::error::StorageError;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;

/// A segment, and the entries that count in it.
type Cover = (Arc<Segment>, Range<u64>);

/// The oldest first. Cheap to clone; a clone keeps what it names from being removed.
///
/// Invariant: which segment has an entry is told by their starts alone: it is the newest that
/// starts at it or before.
#[derive(Clone)]
pub(crate) struct Segments(Vec<Arc<Segment>>);

impl Segments {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self(segments)
    }

    /// A segment has been begun.
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.0.push(segment);
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Segment>> {
        self.0.last()
    }

    /// Each segment, and the entries that count in it.
    pub(crate) fn covers(&self) -> Vec<Cover> {
        let mut end = u64::MAX;
        let mut covers = Vec::with_capacity(self.0.len());
        for segment in self.0.iter().rev() {
            let start = segment.start().min(end);
            covers.push((segment.clone(), start..end));
            end = start;
        }
        covers.reverse();
        debug_assert!(is_gapless(&covers), "each segment ends where the next one begins");
        covers
    }

    /// The segments none of whose entries counts any more once everything before `end` is gone.
    /// Never the newest.
    pub(super) fn purged_before(&self, end: u64) -> Vec<Arc<Segment>> {
        let mut covers = self.covers();
        covers.pop();
        let gone = covers.into_iter().filter(|(_, range)| range.end <= end || range.is_empty());
        gone.map(|(segment, _)| segment).collect()
    }

    /// The segment that has entry `index` if any has, and where those end that are there.
    fn covering(&self, index: u64) -> Option<(Arc<Segment>, u64)> {
        let covers = self.covers().into_iter().find(|(_, range)| range.contains(&index));
        covers.map(|(segment, range)| (segment, range.end))
    }

    pub(crate) fn get(&self, index: u64) -> Result<Option<Bytes>, StorageError> {
        let Some((segment, _)) = self.covering(index) else {
            return Ok(None);
        };
        Ok(segment.entries(index..index + 1, 1)?.pop().map(|(_, record)| record))
    }

    /// The first index that has a record.
    pub(super) fn first_record(&self) -> Result<Option<u64>, StorageError> {
        for (segment, range) in self.covers() {
            if let Some((index, _)) = segment.entries(range, 1)?.first() {
                return Ok(Some(*index));
            }
        }
        Ok(None)
    }

    /// Records of the entries `start..end` from `start` on, until they add up to `limit_bytes` and
    /// the rest of a block, at least one; those before the first that has none.
    pub(super) fn records(
        &self,
        start: u64,
        end: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Bytes>, StorageError> {
        let (mut records, mut bytes, mut next) = (Vec::new(), 0_usize, start);
        while next < end && (records.is_empty() || bytes < limit_bytes) {
            let Some((segment, segment_end)) = self.covering(next) else { break };
            let before = next;
            let limit = (limit_bytes - bytes).max(1);
            for (index, record) in segment.entries(next..end.min(segment_end), limit)? {
                bytes += record.len();
                // What comes after the last block is an entry by itself.
                let is_too_much = bytes > limit_bytes + MAX_BLOCK_BYTES && !records.is_empty();
                if is_too_much || index != next {
                    return Ok(records);
                }
                records.push(record);
                next += 1;
            }
            if next == before {
                break;
            }
        }
        Ok(records)
    }
}

fn is_gapless(covers: &[Cover]) -> bool {
    covers.iter().zip(covers.iter().skip(1)).all(|((_, a), (_, b))| a.end == b.start)
}

#[cfg(feature = "testing")]
impl Segments {
    /// What must hold between two calls.
    fn check_invariants(&self) -> Result<(), &'static str> {
        let mut names: Vec<_> = self.0.iter().map(|segment| segment.record.name()).collect();
        names.sort();
        all_hold(&[
            ("every segment has been begun", self.0.iter().all(|segment| segment.is_begun())),
            ("no segment is there twice", names.windows(2).all(|pair| pair.first() != pair.last())),
            ("the newest segment is a database", self.newest().is_some_and(|newest| newest.is_database())),
            ("each segment ends where the next one begins", is_gapless(&self.covers())),
        ])
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

    #[cfg(feature = "testing")]
    pub(super) fn check_invariants(&self) -> Result<(), &'static str> {
        self.get().check_invariants()
    }

    fn change(&self, change: impl FnOnce(&mut Segments)) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut segments));
    }

    /// A segment has been begun.
    pub(super) fn push(&self, segment: Arc<Segment>) {
        self.change(|segments| segments.push(segment));
    }

    /// Segments that do not count any more.
    pub(super) fn remove(&self, removed: &[Arc<Segment>]) {
        self.change(|segments| {
            segments.0.retain(|segment| removed.iter().all(|gone| !Arc::ptr_eq(gone, segment)));
        });
    }

    /// What was in `old` is in `new`.
    pub(super) fn replace(&self, old: &Arc<Segment>, new: &Arc<Segment>) {
        self.change(|segments| {
            for segment in segments.0.iter_mut().filter(|segment| Arc::ptr_eq(segment, old)) {
                *segment = new.clone();
            }
        });
    }
}
