//! What was applied lately, in memory: the newest part of the state, until it is a table on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::{Bytes, BytesMut};

use super::bloom::BloomFilter;
use super::change::Change;
use super::merge_operator::MergeOperator;
use crate::error::StorageError;
use crate::health::Fault;
#[cfg(feature = "testing")]
use crate::invariants::all_hold;
use crate::scan::{KeyRange, ScanLimit};

/// What a change costs in memory beside its key and value: a part of a tree node.
const CHANGE_OVERHEAD_BYTES: usize = 160;
/// Values up to this size are copied, with all keys of an apply batch, into one piece of memory. A
/// piece for each pair would take so long to be given back that the apply thread waits for the C
/// library.
const COPIED_BYTES: usize = 4096;
/// What is applied waits for a check of so many keys, or of so many bytes: some 20 us.
const KEYS_CHECKED_AT_ONCE: usize = 256;
const BYTES_CHECKED_AT_ONCE: usize = 256 * 1024;

/// The changes of one key: `older` in ascending order, and the newest.
#[derive(Debug)]
struct History {
    sequence: u64,
    change: Change,
    older: Vec<(u64, Change)>,
    /// Of the key and `change`, from when they came: what becomes a table is what was applied.
    sum: u32,
}

impl History {
    /// What counted at a sequence number; `None` if the key was first changed later.
    fn at(&self, sequence: u64) -> Option<&Change> {
        if self.sequence <= sequence {
            return Some(&self.change);
        }
        self.older.iter().rev().find(|(of, _)| *of <= sequence).map(|(_, change)| change)
    }

    /// `change` is all that is to be known of this memtable's changes: what was merged into is in
    /// it.
    fn push(&mut self, sequence: u64, change: Change, sum: u32) {
        debug_assert!(self.sequence < sequence, "the changes of a key ascend");
        let before = (self.sequence, std::mem::replace(&mut self.change, change));
        (self.sequence, self.sum) = (sequence, sum);
        self.older.push(before);
    }
}

/// A checksum (CRC-32C) of what is in memory for a key.
fn sum_of(key: &[u8], change: &Change) -> u32 {
    let (kind, value): (u8, &[u8]) = match change {
        Change::Put(value) => (1, value),
        Change::Delete => (2, &[]),
        Change::Merge(operand) => (3, operand),
    };
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), &[kind]), value)
}

impl History {
    /// # Errors
    /// This is not what was applied.
    fn check(&self, key: &[u8]) -> Result<(), Fault> {
        if sum_of(key, &self.change) == self.sum {
            return Ok(());
        }
        let bytes = key.len() + self.change.bytes();
        Err(Fault::corrupt(
            "memory",
            format!(
                "a pair of {bytes} bytes is not what was applied any more: the memory of this machine has failed"
            ),
        ))
    }
}

/// Changes by key, each at the sequence number of the batch that made it.
///
/// One thread writes, many read. A reader reads *at* a sequence number that was [`published`](Self::published), so
/// what it sees does not change while more is applied.
///
/// Invariants: the sequence numbers of a key's changes ascend; all changes up to `published` are in
/// it, or were in the tree before it; `filter` may have every key of `keys`.
pub(crate) struct Memtable {
    /// Counts memtables; greater ones are newer.
    pub(crate) number: u64,
    /// Of the keys of `keys`.
    filter: BloomFilter,
    keys: RwLock<BTreeMap<Bytes, History>>,
    bytes: AtomicUsize,
    published: AtomicU64,
}

impl Memtable {
    /// An empty one on top of a tree up to sequence number `published`.
    pub(crate) fn new(number: u64, published: u64) -> Self {
        let (filter, keys) = (BloomFilter::new(), RwLock::default());
        Self { number, filter, keys, bytes: AtomicUsize::new(0), published: published.into() }
    }

    /// Adds the changes of a batch at its sequence number, and publishes them.
    pub(crate) fn apply(
        &self,
        changes: BTreeMap<Vec<u8>, Change>,
        sequence: u64,
        operator: &MergeOperator,
    ) -> Result<(), StorageError> {
        debug_assert!(self.published() <= sequence, "sequence numbers ascend");
        let mut added = 0;
        let changes = in_one_piece(changes);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for (key, change) in changes {
            added += CHANGE_OVERHEAD_BYTES + key.len();
            match keys.entry(key) {
                Entry::Occupied(mut history) => {
                    if matches!(change, Change::Merge(_)) {
                        history.get().check(history.key())?;
                    }
                    let change = operator.both(history.key(), &history.get().change, change)?;
                    added += change.bytes();
                    let sum = sum_of(history.key(), &change);
                    history.get_mut().push(sequence, change, sum);
                }
                Entry::Vacant(place) => {
                    added += change.bytes();
                    self.filter.add(place.key());
                    let sum = sum_of(place.key(), &change);
                    place.insert(History { sequence, change, older: Vec::new(), sum });
                }
            }
        }
        drop(keys);
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.published.store(sequence, Ordering::Release);
        Ok(())
    }

    /// Whether the newest change of each key is what was applied. Others read and write meanwhile.
    ///
    /// # Errors
    /// One is not: a bit of this memory was flipped.
    pub(crate) fn check_memory(&self) -> Result<(), Fault> {
        let mut from = Bound::Unbounded;
        loop {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            let (mut last, mut bytes) = (None, 0);
            for (key, history) in keys.range::<Bytes, _>((from, Bound::Unbounded)).take(KEYS_CHECKED_AT_ONCE)
            {
                history.check(key)?;
                last = Some(key.clone());
                bytes += key.len() + history.change.bytes();
                if bytes >= BYTES_CHECKED_AT_ONCE {
                    break;
                }
            }
            match last {
                Some(last) => from = Bound::Excluded(last),
                None => return Ok(()),
            }
        }
    }

    /// Flips a bit in the memory of a value.
    #[cfg(test)]
    fn flip_bit(&self, key: &[u8]) {
        let mut keys = self.keys.write().unwrap();
        let history = keys.get_mut(key).unwrap();
        let (Change::Put(value) | Change::Merge(value)) = &mut history.change else { panic!("no value") };
        let mut flipped = value.to_vec();
        flipped[0] ^= 4;
        *value = flipped.into();
    }

    /// What must hold while nothing is applied.
    #[cfg(feature = "testing")]
    pub(crate) fn check_invariants(&self) -> Result<(), &'static str> {
        let published = self.published();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let ascends = |history: &History| {
            let all = history.older.iter().map(|(sequence, _)| *sequence).chain([history.sequence]);
            all.is_sorted_by(|a, b| a < b)
        };
        all_hold(&[
            ("the sequence numbers of a key's changes ascend", keys.values().all(ascends)),
            ("every change is published", keys.values().all(|history| history.sequence <= published)),
            ("the filter may have every key", keys.keys().all(|key| self.filter.may_have(key))),
        ])
    }

    /// The sequence number up to which a reader may read.
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
    pub(crate) fn get(&self, key: &[u8], sequence: u64) -> Option<Change> {
        // What was published at this sequence number was added to the filter before.
        if !self.filter.may_have(key) {
            return None;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).and_then(|history| history.at(sequence)).cloned()
    }

    /// Changes in ascending key order, from the start of `range` until `limit`; at least one if
    /// there is one.
    pub(crate) fn scan(&self, range: &KeyRange, sequence: u64, limit: ScanLimit) -> Vec<(Bytes, Change)> {
        let mut page = limit.page();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        for (key, history) in keys.range::<[u8], _>((Bound::Included(&*range.start), Bound::Unbounded)) {
            if !range.contains(key) {
                break;
            }
            let Some(change) = history.at(sequence) else { continue };
            if !page.push(key.clone(), change.clone(), key.len() + change.bytes()) {
                break;
            }
        }
        page.into_found()
    }
}

/// The same changes, with keys and small values in one piece of memory.
fn in_one_piece(changes: BTreeMap<Vec<u8>, Change>) -> Vec<(Bytes, Change)> {
    let copied_bytes = |change: &Change| Some(change.bytes()).filter(|bytes| *bytes <= COPIED_BYTES);
    let of_pair = |(key, change): (&Vec<u8>, &Change)| key.len() + copied_bytes(change).unwrap_or(0);
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

    /// The benchmark of stalls found that applies waited for 50 ms, and half as many were possible,
    /// while the memory of a memtable was given back piece by piece.
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
    fn a_flipped_bit_is_found_before_it_is_merged_or_written() {
        let of = |n: usize| format!("key {n:04}");
        let full = || {
            let memtable = Memtable::new(1, 0);
            for n in 0..3 * KEYS_CHECKED_AT_ONCE {
                let change = if n % 2 == 0 { put("value") } else { append("operand") };
                let batch = BTreeMap::from([(of(n).into_bytes(), change)]);
                memtable.apply(batch, n as u64 + 1, &MergeOperator::that_appends()).unwrap();
            }
            memtable
        };
        for n in [0, KEYS_CHECKED_AT_ONCE, 3 * KEYS_CHECKED_AT_ONCE - 1] {
            let memtable = full();
            memtable.check_memory().unwrap();
            memtable.flip_bit(of(n).as_bytes());
            let fault = memtable.check_memory().unwrap_err();
            assert!(fault.reason.contains("memory of this machine"), "{fault}");
            // What is merged into it would have a checksum that fits.
            let onto = |change| {
                let batch = BTreeMap::from([(of(n).into_bytes(), change)]);
                memtable.apply(batch, 9999, &MergeOperator::that_appends())
            };
            onto(append("more")).unwrap_err();
            // What replaces it is good.
            onto(put("new")).unwrap();
            memtable.check_memory().unwrap();
        }
    }

    #[test]
    fn every_change_counts_in_its_size() {
        let memtable = Memtable::new(1, 0);
        for at in 1..=100 {
            memtable.apply(changes(&[("hot", put("value"))]), at, &MergeOperator::that_appends()).unwrap();
        }
        assert!(memtable.bytes() >= 100 * (CHANGE_OVERHEAD_BYTES + 5));
    }
}
