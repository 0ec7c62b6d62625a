//! Tells that a key is not in a memtable, without a search.
//!
//! A search through the tree of a memtable waits for memory some ten times, and most keys that are
//! read are not in it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Words of 64 bits; 128 KiB in all. With the default memtable of 32 MiB, in which 75,000 pairs of
/// 256 bytes fit, one in a hundred keys that are not there is searched for. In one with many more
/// the filter is of less use.
const WORDS_LOG2: u32 = 14;
/// Bits of one key, all in one word: one wait for memory.
const BITS: u32 = 3;
const BIT_NUMBER_BITS: u32 = 6;

/// A Bloom filter of fixed size. One thread adds, many ask.
///
/// Invariant: it may have every key that was added.
pub(crate) struct BloomFilter(Vec<AtomicU64>);

/// The word of a key, and its bits in it.
fn place(key: &[u8]) -> (usize, u64) {
    let hash = crc32c::crc32c(key);
    let word = hash >> (u32::BITS - WORDS_LOG2);
    let number = |n: u32| (hash >> (n * BIT_NUMBER_BITS)) % u64::BITS;
    (word as usize, (0..BITS).fold(0, |bits, n| bits | 1 << number(n)))
}

impl BloomFilter {
    pub(crate) fn new() -> Self {
        Self((0..1 << WORDS_LOG2).map(|_| AtomicU64::new(0)).collect())
    }

    /// Seen by every thread that sees what the same thread publishes afterwards.
    pub(crate) fn add(&self, key: &[u8]) {
        let (word, bits) = place(key);
        if let Some(word) = self.0.get(word) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// `false`: the key was not added.
    pub(crate) fn may_have(&self, key: &[u8]) -> bool {
        let (word, bits) = place(key);
        self.0.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bits == bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_added_are_found_and_few_others() {
        let filter = BloomFilter::new();
        let key = |n: u32| format!("key {n}");
        (0..75_000).for_each(|n| filter.add(key(n).as_bytes()));
        assert!((0..75_000).all(|n| filter.may_have(key(n).as_bytes())));
        let wrong = (75_000..175_000).filter(|n| filter.may_have(key(*n).as_bytes())).count();
        assert!(wrong < 5_000, "{wrong} of 100,000");
    }
}
