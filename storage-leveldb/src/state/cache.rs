//! Recently read and written pairs of the state's database.

use std::collections::HashMap;

use bytes::Bytes;

use crate::engine::{Batch, Op};

/// What an entry costs in memory beside its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 96;

/// Values by key, as in the database; `None`: there is no such key.
///
/// Two generations: what is used moves to the young one, and when that is half of the limit the old one
/// goes. So what was used lately stays, at the price of a lookup in two maps.
///
/// Invariants: what it holds is what the engine would answer; it holds at most `limit_bytes`.
pub(super) struct ReadCache {
    young: HashMap<Vec<u8>, Option<Bytes>>,
    old: HashMap<Vec<u8>, Option<Bytes>>,
    young_bytes: usize,
    limit_bytes: usize,
}

impl ReadCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, limit_bytes }
    }

    /// What is known of `key`.
    pub(super) fn get(&mut self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// The engine answered this, or was told it.
    pub(super) fn insert(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        self.old.remove(&key);
        // A value may be a slice of something larger, which it would keep alive.
        let value = value.map(|value| Bytes::copy_from_slice(&value));
        let bytes = cost(&key, value.as_ref());
        if let Some(before) = self.young.get(&key) {
            self.young_bytes = self.young_bytes.saturating_sub(cost(&key, before.as_ref()));
        }
        self.young_bytes = self.young_bytes.saturating_add(bytes);
        self.young.insert(key, value);
        if self.young_bytes > self.limit_bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// The engine is about to get this batch. Call [`clear`](Self::clear) if it fails.
    pub(super) fn write(&mut self, batch: &Batch) {
        for op in batch.ops() {
            match op {
                Op::Put(key, value) => self.insert(key.clone(), Some(value.clone())),
                Op::Delete(key) => self.insert(key.clone(), None),
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit_bytes);
    }
}

fn cost(key: &[u8], value: Option<&Bytes>) -> usize {
    ENTRY_OVERHEAD_BYTES.saturating_add(key.len()).saturating_add(value.map_or(0, Bytes::len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(cache: &ReadCache) -> usize {
        cache.young.iter().chain(&cache.old).map(|(key, value)| cost(key, value.as_ref())).sum()
    }

    #[test]
    fn it_stays_within_its_limit_and_keeps_what_is_used() {
        let mut cache = ReadCache::new(100_000);
        for i in 0..10_000_u32 {
            cache.insert(i.to_be_bytes().to_vec(), Some(Bytes::from(vec![0; 100])));
            assert_eq!(cache.get(&0_u32.to_be_bytes()), Some(Some(Bytes::from(vec![0; 100]))));
            assert!(bytes(&cache) <= 100_000 + 300, "{}", bytes(&cache));
        }
        assert_eq!(cache.get(&1_u32.to_be_bytes()), None);
    }

    #[test]
    fn the_last_write_counts_in_whichever_generation() {
        let mut cache = ReadCache::new(100_000);
        cache.insert(b"k".to_vec(), Some(Bytes::from_static(b"1")));
        cache.old = std::mem::take(&mut cache.young);
        let mut batch = Batch::default();
        batch.delete(b"k".to_vec());
        cache.write(&batch);
        assert_eq!(cache.get(b"k"), Some(None));
        assert!(cache.old.is_empty());
    }
}
