//! What was applied lately, in memory: the newest part of the state, until it is a run on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::change::Change;
use super::key_filter::KeyFilter;
use super::merge_operator::MergeOperator;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// What a version costs in memory beside its key and value: a part of a tree node, two allocations, their headers.
const VERSION_OVERHEAD_BYTES: usize = 160;

/// The versions of one key: `older` in ascending order, and the one that counts.
#[derive(Debug)]
struct Versions {
    at: u64,
    change: Change,
    older: Vec<(u64, Change)>,
}

impl Versions {
    /// What counted at `at`; `None` if the key was first changed later.
    fn at(&self, at: u64) -> Option<&Change> {
        if self.at <= at {
            return Some(&self.change);
        }
        self.older.iter().rev().find(|(when, _)| *when <= at).map(|(_, change)| change)
    }

    /// `change` is all that is to be known of this memtable's changes: what was merged into is in it.
    fn push(&mut self, at: u64, change: Change) {
        let before = (self.at, std::mem::replace(&mut self.change, change));
        self.at = at;
        self.older.push(before);
    }
}

/// Changes by key, each at the log index of the batch that made it.
///
/// One thread writes, many read. A reader reads *at* an index that was [`published`](Self::published), so what it
/// sees does not change while more is applied.
///
/// Invariants: versions of a key ascend; everything up to `published` is in it, or was in the state before it; `keys` may
/// have every key of `versions`.
pub(super) struct Memtable {
    /// Counts memtables; greater ones are newer.
    pub(super) number: u64,
    /// The keys of `versions`.
    keys: KeyFilter,
    versions: RwLock<BTreeMap<Vec<u8>, Versions>>,
    bytes: AtomicUsize,
    published: AtomicU64,
}

impl Memtable {
    /// An empty one on top of a state up to log index `published`.
    pub(super) fn new(number: u64, published: u64) -> Self {
        let (keys, versions) = (KeyFilter::new(), RwLock::default());
        Self { number, keys, versions, bytes: AtomicUsize::new(0), published: published.into() }
    }

    /// Adds the changes of an apply batch that ends at log index `at`, and publishes them.
    pub(super) fn apply(
        &self,
        changes: BTreeMap<Vec<u8>, Change>,
        at: u64,
        operator: &MergeOperator,
    ) -> Result<(), StorageError> {
        let mut added = 0_usize;
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in changes {
            added = added.saturating_add(VERSION_OVERHEAD_BYTES);
            match versions.entry(key) {
                Entry::Occupied(mut versions) => {
                    let change = operator.both(versions.key(), &versions.get().change, change)?;
                    added = added.saturating_add(change.bytes());
                    versions.get_mut().push(at, change);
                }
                Entry::Vacant(place) => {
                    added = added.saturating_add(place.key().len()).saturating_add(change.bytes());
                    self.keys.add(place.key());
                    place.insert(Versions { at, change, older: Vec::new() });
                }
            }
        }
        drop(versions);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.published.store(at, Ordering::Release);
        Ok(())
    }

    /// The log index up to which a reader may read.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// What `key` was changed to; `None` if it was not.
    pub(super) fn get(&self, key: &[u8], at: u64) -> Option<Change> {
        // What was published at `at` was added to the filter before.
        if !self.keys.may_have(key) {
            return None;
        }
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.get(key).and_then(|versions| versions.at(at)).cloned()
    }

    /// Changes in ascending key order, from the start of `range` until `limit`; at least one if there is one.
    pub(super) fn scan(&self, range: &KeyRange, at: u64, limit: ScanLimit) -> Vec<(Bytes, Change)> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        for (key, versions) in versions.range::<[u8], _>((Bound::Included(&*range.start), Bound::Unbounded)) {
            if !range.contains(key) {
                break;
            }
            let Some(change) = versions.at(at) else { continue };
            bytes = bytes.saturating_add(key.len()).saturating_add(change.bytes());
            found.push((Bytes::copy_from_slice(key), change.clone()));
            if limit.is_reached(found.len(), bytes) {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ScanLimit = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };

    fn put(text: &'static str) -> Change {
        Change::Put(Bytes::from_static(text.as_bytes()))
    }

    fn append(text: &'static str) -> Change {
        Change::Merge(Bytes::from_static(text.as_bytes()))
    }

    fn changes(of: &[(&str, Change)]) -> BTreeMap<Vec<u8>, Change> {
        of.iter().map(|(key, change)| (key.as_bytes().to_vec(), change.clone())).collect()
    }

    #[test]
    fn a_reader_sees_the_moment_it_reads_at() {
        let memtable = Memtable::new(1, 4);
        let apply = |of: &[(&str, Change)], at| {
            memtable.apply(changes(of), at, &MergeOperator::that_appends()).unwrap();
        };
        apply(&[("a", put("1")), ("b", append("1"))], 5);
        apply(&[("a", Change::Delete), ("b", append("2")), ("c", put("2"))], 9);
        apply(&[("a", append("3")), ("c", append("3"))], 12);
        let at = |at| {
            let scanned = memtable.scan(&KeyRange::all(), at, ALL);
            for (key, found) in &scanned {
                assert_eq!(memtable.get(key, at), Some(found.clone()));
            }
            scanned.into_iter().map(|(_, change)| change).collect::<Vec<_>>()
        };
        assert_eq!(at(4), []);
        assert_eq!(at(8), [put("1"), append("1")]);
        assert_eq!(at(9), [Change::Delete, append("12"), put("2")]);
        assert_eq!(at(99), [put("3"), append("12"), put("23")]);
        assert_eq!(memtable.get(b"c", 8), None);
        assert_eq!(memtable.published(), 12);
    }

    #[test]
    fn every_version_counts_in_its_size() {
        let memtable = Memtable::new(1, 0);
        for at in 1..=100 {
            memtable.apply(changes(&[("hot", put("value"))]), at, &MergeOperator::that_appends()).unwrap();
        }
        assert!(memtable.bytes() >= 100 * (VERSION_OVERHEAD_BYTES + 5));
    }
}
