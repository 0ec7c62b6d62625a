//! A table file's filter block: for each data block a Bloom filter over its keys.
//!
//! ```text
//! filter block   filter ... | offset of each filter u32 ... | offset of the offsets u32 | 11 u8
//! filter         bits | number of probes u8
//! ```
//!
//! The filter of a block that begins at byte `n` of the table file is the one with the number
//! `n >> 11`; those between have no bytes.

use std::ops::Range;

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

/// The filters of a table file's data blocks.
///
/// What a search needs of a block is in one place: a table file that has not got a key, which is
/// what most are asked, costs little but the waits for memory.
///
/// Invariants: `ends` are within `bits` and never less than the one before; each filter begins
/// where the one before it ends, and has [`LEAST_BYTES`] at least, of which the last one is no
/// bits.
pub(super) struct Filter {
    bits: Vec<u8>,
    /// By the number of the block: where its filter ends. Blocks that end at the same place have
    /// one in common.
    ends: Vec<u32>,
}

impl Filter {
    /// `blocks` are the offsets of the table file's data blocks: each must have a filter that can
    /// be understood.
    pub(super) fn parse(mut bytes: Vec<u8>, blocks: impl Iterator<Item = u64>) -> Result<Self, Damage> {
        let offsets = Offsets::find(&bytes)?;
        let mut ends = Vec::new();
        let mut before = 0..0;
        for block in blocks {
            let place = offsets.of_block(block)?;
            if place.start != before.end && place != before {
                return Err("a filter is not where the one before it ends");
            }
            ends.push(place.end);
            before = place;
        }
        ends.shrink_to_fit();
        let bits_end = offsets.at;
        bytes.truncate(bits_end);
        bytes.shrink_to_fit();
        debug_assert!(
            ends.is_sorted() && ends.last().is_none_or(|end| *end as usize <= bytes.len()),
            "filters in order"
        );
        Ok(Self { bits: bytes, ends })
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bits.len() + self.ends.len() * size_of::<u32>()
    }

    /// The filter of a block, without the number of probes.
    fn bits_of(&self, block: usize) -> Option<&[u8]> {
        let (before, rest) = self.ends.split_at_checked(block)?;
        let end = *rest.first()?;
        let start = before.iter().rev().find(|before| **before != end).copied().unwrap_or(0);
        self.bits.get(start as usize..end.checked_sub(1)? as usize)
    }

    /// Whether the block with the number `block` may have the key with this hash; `false`: it has
    /// not.
    pub(super) fn may_have(&self, block: usize, hash: u32) -> Result<bool, Damage> {
        let bits = self.bits_of(block).ok_or("a block has no filter")?;
        let count = u32::try_from(bits.len() * 8).map_err(|_| "a filter is too long")?;
        let step = hash.rotate_left(15);
        let mut probe = hash;
        for _ in 0..PROBES {
            let bit = probe.checked_rem(count).ok_or("a filter is empty")?;
            let byte = bits.get((bit / 8) as usize).ok_or("a filter is too short")?;
            if byte & (1 << (bit % 8)) == 0 {
                return Ok(false);
            }
            probe = probe.wrapping_add(step);
        }
        Ok(true)
    }
}

/// The offsets of the filters, in the filter block.
///
/// Invariant: `at` is within `bytes`, and five bytes at least are behind it.
struct Offsets<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Offsets<'a> {
    fn find(bytes: &'a [u8]) -> Result<Self, Damage> {
        let (unit, rest) = bytes.split_last().ok_or("the filter block is empty")?;
        if *unit != UNIT_LOG2 {
            return Err("the filter block is for other units");
        }
        let last_at = rest.len().checked_sub(OFFSET_BYTES).ok_or("the filter block is too short")?;
        let at = u32_at(rest, last_at).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let offsets_bytes = last_at.checked_sub(at).ok_or("the filter block's offsets are not in it")?;
        if !offsets_bytes.is_multiple_of(OFFSET_BYTES) {
            return Err("the filter block's offsets are no whole number");
        }
        Ok(Self { bytes, at })
    }

    /// Where the filter of the block at `block` is.
    fn of_block(&self, block: u64) -> Result<Range<u32>, Damage> {
        let number = usize::try_from(block >> UNIT_LOG2).map_err(|_| "a block is too far behind")?;
        let at = number.checked_mul(OFFSET_BYTES).and_then(|at| at.checked_add(self.at));
        let at = at.ok_or("a block is too far behind")?;
        // Behind the last offset comes that of the offsets, which is where the last filter ends.
        let (Some(start), Some(end)) = (u32_at(self.bytes, at), u32_at(self.bytes, at + OFFSET_BYTES)) else {
            return Err("a block has no filter");
        };
        let filter = self.bytes.get(start as usize..end as usize).filter(|_| end as usize <= self.at);
        let filter = filter.ok_or("a filter is not in its block")?;
        if filter.len() < LEAST_BYTES || filter.last() != Some(&PROBES) {
            return Err("a filter is not one of ten bits per key");
        }
        if filter.len() as u64 > u64::from(u32::MAX / 8) {
            Err("a filter is too large")
        } else {
            Ok(start..end)
        }
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
