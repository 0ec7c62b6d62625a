//! A table's filter block: for each data block a Bloom filter over its keys.
//!
//! ```text
//! filter block   filter ... | offset of each filter u32 ... | offset of the offsets u32 | 11 u8
//! filter         bits | number of probes u8
//! ```
//!
//! The filter of a block that begins at byte `n` of the table is the one with the number `n >> 11`; those between have no
//! bytes.

use super::Damage;
use crate::file::u32_at;

/// The name in the metaindex, of LevelDB's filter and rusty-leveldb's `BloomPolicy`.
pub(super) const NAME: &[u8] = b"filter.leveldb.BuiltinBloomFilter2";
const UNIT_LOG2: u8 = 11;
const OFFSET_BYTES: usize = 4;
/// What `BloomPolicy` makes of its ten bits per key.
const PROBES: u8 = 6;
const LEAST_BYTES: usize = 9;
const SEED: u32 = 0xbc9f_1d34;
const MULTIPLIER: u32 = 0xc6a4_a793;

/// Invariant: `offsets_at` is within `bytes`, and five bytes at least are behind it.
pub(super) struct Filter {
    bytes: Vec<u8>,
    offsets_at: usize,
}

impl Filter {
    /// `blocks` are the offsets of the table's data blocks: each must have a filter that can be understood.
    pub(super) fn parse(bytes: Vec<u8>, blocks: impl Iterator<Item = u64>) -> Result<Self, Damage> {
        let (rest, unit) =
            bytes.split_last().map(|(unit, rest)| (rest, *unit)).ok_or("the filter block is empty")?;
        if unit != UNIT_LOG2 {
            return Err("the filter block is for other units");
        }
        let last_at = rest.len().checked_sub(OFFSET_BYTES).ok_or("the filter block is too short")?;
        let offsets_at = u32_at(rest, last_at).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let offsets_bytes =
            last_at.checked_sub(offsets_at).ok_or("the filter block's offsets are not in it")?;
        if !offsets_bytes.is_multiple_of(OFFSET_BYTES) {
            return Err("the filter block's offsets are no whole number");
        }
        let filter = Self { bytes, offsets_at };
        for block in blocks {
            filter.of_block(block)?;
        }
        Ok(filter)
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bits and number of probes of one block.
    fn of_block(&self, block: u64) -> Result<&[u8], Damage> {
        let number = usize::try_from(block >> UNIT_LOG2).map_err(|_| "a block is too far behind")?;
        let at = number.checked_mul(OFFSET_BYTES).and_then(|at| at.checked_add(self.offsets_at));
        let at = at.ok_or("a block is too far behind")?;
        // Behind the last offset comes that of the offsets, which is where the last filter ends.
        let offset = |at: usize| u32_at(&self.bytes, at).and_then(|offset| usize::try_from(offset).ok());
        let (Some(start), Some(end)) = (offset(at), offset(at.saturating_add(OFFSET_BYTES))) else {
            return Err("a block has no filter");
        };
        let filter = self.bytes.get(start..end).filter(|_| end <= self.offsets_at);
        let filter = filter.ok_or("a filter is not in its block")?;
        if filter.len() < LEAST_BYTES || filter.last() != Some(&PROBES) {
            return Err("a filter is not one of ten bits per key");
        }
        Ok(filter)
    }

    /// Whether the block at `block` may have the key with this hash; `false`: it has not.
    pub(super) fn may_have(&self, block: u64, hash: u32) -> Result<bool, Damage> {
        let (_, bits) = self.of_block(block)?.split_last().ok_or("a filter is empty")?;
        let count = u32::try_from(bits.len().saturating_mul(8)).map_err(|_| "a filter is too large")?;
        let step = hash.rotate_left(15);
        let mut probe = hash;
        for _ in 0..PROBES {
            let bit = probe.checked_rem(count).ok_or("a filter is empty")?;
            let byte =
                usize::try_from(bit / 8).ok().and_then(|at| bits.get(at)).ok_or("a filter is too short")?;
            if byte & (1 << (bit % 8)) == 0 {
                return Ok(false);
            }
            probe = probe.wrapping_add(step);
        }
        Ok(true)
    }
}

/// LevelDB's hash of a user's key.
pub(super) fn hash(key: &[u8]) -> u32 {
    let mut hash = SEED ^ (key.len() as u32).wrapping_mul(MULTIPLIER);
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        hash = hash.wrapping_add(u32_at(word, 0).unwrap_or_default()).wrapping_mul(MULTIPLIER);
        hash ^= hash >> 16;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0, 8, 16]) {
            hash = hash.wrapping_add(u32::from(*byte) << shift);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
        hash ^= hash >> 24;
    }
    hash
}
