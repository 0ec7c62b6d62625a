//! Several parts of a tree as one sequence of changes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::change::Change;
use super::memtable::Memtable;
use super::merge_operator::MergeOperator;
use super::table::StateTable;
use crate::error::StorageError;
use crate::scan::{KeyRange, ScanLimit, after};

/// Read from one part at first, where the caller may need few pairs,
pub(super) const FIRST_PAGE_PAIRS: usize = 16;
/// and so many times more with each page that comes after it.
const PAGE_GROWTH: usize = 4;
/// Read from one part at once.
const MAX_PAGE: ScanLimit = ScanLimit { pairs: 2048, bytes: 256 * 1024 };
/// All pages together have about this much, however many parts there are, unless the pages come to
/// be smaller than [`MIN_PAGE_BYTES`].
const PAGES_BYTES: usize = 2 * 1024 * 1024;
/// A smaller page takes longer to be found than to be read.
const MIN_PAGE_BYTES: usize = 32 * 1024;

/// A page of one of so many parts.
fn page_of(parts: usize) -> ScanLimit {
    let bytes = PAGES_BYTES / parts.max(1);
    ScanLimit { bytes: bytes.clamp(MIN_PAGE_BYTES, MAX_PAGE.bytes), ..MAX_PAGE }
}

/// A part of a tree.
enum Part {
    Memtable(Arc<Memtable>, u64),
    Table(Arc<StateTable>),
}

/// Reads a part page by page.
///
/// Invariant: `page` has the next changes of `rest`'s start, and none of `rest` if that is `None`.
struct Cursor {
    part: Part,
    page: VecDeque<(Bytes, Change)>,
    rest: Option<KeyRange>,
    limit: ScanLimit,
    max_pairs: usize,
}

impl Cursor {
    fn fill(&mut self) -> Result<(), StorageError> {
        let Some(range) = self.rest.take().filter(|_| self.page.is_empty()) else { return Ok(()) };
        let page = match &self.part {
            Part::Memtable(memtable, at) => memtable.scan(&range, *at, self.limit),
            Part::Table(table) => table.scan(&range, self.limit)?,
        };
        // Only an empty page is the end: what ended this one is the part's to know, which counts
        // stored bytes.
        if let Some((last, _)) = page.last() {
            self.rest = Some(KeyRange { start: after(last), end: range.end });
        }
        debug_assert!(page.is_sorted_by(|(a, _), (b, _)| a < b), "the keys of a part ascend");
        self.limit.pairs = (self.limit.pairs * PAGE_GROWTH).min(self.max_pairs);
        self.page = page.into();
        Ok(())
    }

    fn key(&mut self) -> Result<Option<&Bytes>, StorageError> {
        if self.page.is_empty() {
            self.fill()?;
        }
        Ok(self.page.front().map(|(key, _)| key))
    }
}

/// The changes in several parts in ascending key order: of each key, what all parts come to.
///
/// Holds one page per part.
pub(crate) struct MergingIterator {
    /// The newest first.
    cursors: Vec<Cursor>,
    operator: Arc<MergeOperator>,
}

impl MergingIterator {
    /// The parts, each the newest first, memtables before tables. The first page of each has so
    /// many pairs.
    pub(crate) fn new(
        operator: &Arc<MergeOperator>,
        memtables: &[Arc<Memtable>],
        sequence: u64,
        tables: &[Arc<StateTable>],
        range: &KeyRange,
        first_pairs: usize,
    ) -> Self {
        let max = page_of(memtables.len() + tables.len());
        let limit = ScanLimit { pairs: first_pairs.min(max.pairs), ..max };
        let memtables = memtables.iter().map(|memtable| Part::Memtable(memtable.clone(), sequence));
        let parts = memtables.chain(tables.iter().map(|table| Part::Table(table.clone())));
        let (page, max_pairs) = (VecDeque::new, max.pairs);
        let cursor = |part| Cursor { part, page: page(), rest: Some(range.clone()), limit, max_pairs };
        Self { cursors: parts.map(cursor).collect(), operator: operator.clone() }
    }

    fn next_change(&mut self) -> Result<Option<(Bytes, Change)>, StorageError> {
        let mut least: Option<Bytes> = None;
        for cursor in &mut self.cursors {
            if let Some(key) = cursor.key()?
                && least.as_ref().is_none_or(|least| key < least)
            {
                least = Some(key.clone());
            }
        }
        let Some(least) = least else { return Ok(None) };
        let mut change: Option<Change> = None;
        for cursor in &mut self.cursors {
            if cursor.page.front().is_some_and(|(key, _)| *key == least)
                && let Some((_, older)) = cursor.page.pop_front()
            {
                change = Some(match change {
                    Some(newer) => self.operator.both(&least, &older, newer)?,
                    None => older,
                });
            }
        }
        Ok(change.map(|change| (least, change)))
    }

    /// The pairs that are there, if nothing is older than these parts.
    pub(crate) fn pairs(self) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> {
        self.filter_map(|change| match change {
            Ok((key, change)) => change.alone().map(|value| Ok((key, value))),
            Err(e) => Some(Err(e)),
        })
    }
}

impl Iterator for MergingIterator {
    type Item = Result<(Bytes, Change), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_change().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_smaller_where_there_are_many_and_never_tiny() {
        assert_eq!(page_of(0).bytes, MAX_PAGE.bytes);
        assert_eq!(page_of(8).bytes, MAX_PAGE.bytes);
        for parts in 8..=64 {
            assert!(parts * page_of(parts).bytes <= PAGES_BYTES, "{parts}");
        }
        assert_eq!(page_of(1000).bytes, MIN_PAGE_BYTES);
    }
}
