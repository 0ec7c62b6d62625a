//! What was applied lately, in memory: the newest part of the state, until it is a run on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::{Bytes, BytesMut};

use super::change::Change;
use super::bloom::KeyFilter;
use super::merge_operator::MergeOperator;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;

/// What a version costs in memory beside its key and value: a part of a tree node.
const VERSION_OVERHEAD_BYTES: usize = 160;
/// Values up to this size are copied, with all keys of an apply batch, into one piece of memory. A piece for each pair would take
/// so long to be given back that whoever applies meanwhile waits for the C library.
const COPIED_BYTES: usize = 4096;

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
pub(crate) struct Memtable {
    /// Counts memtables; greater ones are newer.
    pub(crate) number: u64,
    /// The keys of `versions`.
    keys: KeyFilter,
    versions: RwLock<BTreeMap<Bytes, Versions>>,
    bytes: AtomicUsize,
    published: AtomicU64,
}

impl Memtable {
    /// An empty one on top of a state up to log index `published`.
    pub(crate) fn new(number: u64, published: u64) -> Self {
        let (keys, versions) = (KeyFilter::new(), RwLock::default());
        Self { number, keys, versions, bytes: AtomicUsize::new(0), published: published.into() }
    }

    /// Adds the changes of an apply batch that ends at log index `at`, and publishes them.
    pub(crate) fn apply(
        &self,
        changes: BTreeMap<Vec<u8>, Change>,
        at: u64,
        operator: &MergeOperator,
    ) -> Result<(), StorageError> {
        let mut added = 0_usize;
        let changes = in_one_piece(changes);
        let mut versions = self.versions.write().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in changes {
            added += VERSION_OVERHEAD_BYTES + key.len();
            match versions.entry(key) {
                Entry::Occupied(mut versions) => {
                    debug_assert!(versions.get().at < at, "versions ascend");
                    let change = operator.both(versions.key(), &versions.get().change, change)?;
                    added += change.bytes();
                    versions.get_mut().push(at, change);
                }
                Entry::Vacant(place) => {
                    added += change.bytes();
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

    /// What must hold while nothing is applied.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        let published = self.published();
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        let ascends = |versions: &Versions| {
            let all = versions.older.iter().map(|(at, _)| *at).chain([versions.at]);
            all.is_sorted_by(|a, b| a < b)
        };
        all_hold(&[
            ("versions of a key ascend", versions.values().all(ascends)),
            ("every version is published", versions.values().all(|versions| versions.at <= published)),
            ("the filter may have every key", versions.keys().all(|key| self.keys.may_have(key))),
        ])
    }

    /// The log index up to which a reader may read.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// About what it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// What `key` was changed to; `None` if it was not.
    pub(crate) fn get(&self, key: &[u8], at: u64) -> Option<Change> {
        // What was published at `at` was added to the filter before.
        if !self.keys.may_have(key) {
            return None;
        }
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        versions.get(key).and_then(|versions| versions.at(at)).cloned()
    }

    /// Changes in ascending key order, from the start of `range` until `limit`; at least one if there is one.
    pub(crate) fn scan(&self, range: &KeyRange, at: u64, limit: ScanLimit) -> Vec<(Bytes, Change)> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        let versions = self.versions.read().unwrap_or_else(PoisonError::into_inner);
        for (key, versions) in versions.range::<[u8], _>((Bound::Included(&*range.start), Bound::Unbounded)) {
            if !range.contains(key) {
                break;
            }
            let Some(change) = versions.at(at) else { continue };
            bytes = bytes.saturating_add(key.len()).saturating_add(change.bytes());
            found.push((key.clone(), change.clone()));
            if limit.is_reached(found.len(), bytes) {
                break;
            }
        }
        found
    }
}

/// The same changes, with keys and small values in one piece of memory.
fn in_one_piece(changes: BTreeMap<Vec<u8>, Change>) -> Vec<(Bytes, Change)> {
    let copied_bytes = |change: &Change| Some(change.bytes()).filter(|bytes| *bytes <= COPIED_BYTES);
    let of_pair =
        |(key, change): (&Vec<u8>, &Change)| key.len().saturating_add(copied_bytes(change).unwrap_or(0));
    let mut piece = BytesMut::with_capacity(changes.iter().map(of_pair).sum());
    let mut copy = |bytes: &[u8]| {
        piece.extend_from_slice(bytes);
        piece.split().freeze()
    };
    let copied = |(key, change): (Vec<u8>, Change)| {
        let key = copy(&key);
        let change = match (copied_bytes(&change), change) {
            (Some(_), Change::Put(value)) => Change::Put(copy(&value)),
            (Some(_), Change::Merge(operand)) => Change::Merge(copy(&operand)),
            (_, change) => change,
        };
        (key, change)
    };
    changes.into_iter().map(copied).collect()
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

    /// The benchmark of stalls found that applies waited for 50 ms, and half as many were possible, while the memory of a
    /// memtable was given back piece by piece.
    #[test]
    fn the_pairs_of_a_batch_are_one_piece_of_memory() {
        let long = Bytes::from(vec![7; COPIED_BYTES + 1]);
        let batch =
            [("a", put("1")), ("b", Change::Put(long.clone())), ("c", Change::Delete), ("d", append("4"))];
        let copied = in_one_piece(changes(&batch));
        assert!(
            copied
                .iter()
                .map(|(key, change)| (&**key, change))
                .eq(changes(&batch).iter().map(|(k, c)| (&**k, c)))
        );
        let parts = copied.iter().flat_map(|(key, change)| {
            let value = change.clone().alone().filter(|value| value.len() <= COPIED_BYTES);
            [Some(key.clone()), value]
        });
        let parts: Vec<Bytes> = parts.flatten().collect();
        assert!(
            parts.windows(2).all(|pair| pair[0].as_ptr_range().end == pair[1].as_ptr()),
            "one behind the other"
        );
        assert_eq!(copied[1].1.clone().alone().unwrap().as_ptr(), long.as_ptr(), "a long one is not copied");
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
