//! A digest of all that was ever applied, and in which order.
//!
//! It is a chain: each step hashes some bytes with the digest so far as the seed, so two nodes
//! whose digests differ once differ at every later entry, and equal digests mean equal histories.
//! XXH3 is fast on the short keys and values of a command, the same on every processor, and has 64
//! bits; CRC-32C has 32, and chaining two of them has no more. What a node applies wrongly is
//! chance and no attacker's choice, so the hash need not resist one.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::time::ClusterTime;

/// What was applied up to some entry. Kept with the position, so a restart, a replay and a snapshot
/// go on with exactly the digest that belongs to their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest(u64);

/// Which kind of step, so that no two kinds with the same bytes come to the same.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(super) enum Step {
    Put = 0x9e37_79b9_7f4a_7c15,
    Merge = 0xbf58_476d_1ce4_e5b9,
    Delete = 0x94d0_49bb_1331_11eb,
    Response = 0xd6e8_feb8_6659_fd93,
    Entry = 0xa076_1d64_78bd_642f,
}

impl Digest {
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// An entry with commands begins.
    pub(super) fn entry(&mut self, index: u64, position: u64, time: ClusterTime, schema: u32) {
        let facts = [index, position, time.as_millis(), u64::from(schema)];
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).zip(facts).for_each(|(at, fact)| at.copy_from_slice(&fact.to_le_bytes()));
        self.step(Step::Entry, &bytes);
    }

    /// Something was done with these bytes. Their length counts, too.
    pub(super) fn step(&mut self, step: Step, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0 ^ step as u64);
    }

    /// Something was done to `key`, with `value`.
    pub(super) fn pair(&mut self, step: Step, key: &[u8], value: &[u8]) {
        self.step(step, key);
        self.0 = xxh3_64_with_seed(value, self.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(steps: &[(Step, &[u8], &[u8])]) -> Digest {
        let mut digest = Digest::default();
        steps.iter().for_each(|(step, key, value)| digest.pair(*step, key, value));
        digest
    }

    #[test]
    fn every_difference_counts() {
        let (a, b): (&[u8], &[u8]) = (b"a", b"b");
        let all = [
            of(&[]),
            of(&[(Step::Put, a, b)]),
            of(&[(Step::Merge, a, b)]),
            of(&[(Step::Delete, a, b"")]),
            of(&[(Step::Put, a, b"")]),
            of(&[(Step::Put, b"ab", b"")]),
            of(&[(Step::Put, b"", b"ab")]),
            of(&[(Step::Put, a, b), (Step::Put, b, a)]),
            of(&[(Step::Put, b, a), (Step::Put, a, b)]),
            of(&[(Step::Put, a, b), (Step::Put, a, b)]),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one), "{n}");
        }
    }

    /// It is stored, and compared between programs of different compilers.
    #[test]
    fn it_is_the_same_everywhere() {
        let mut digest = Digest::default();
        digest.entry(7, 9, ClusterTime::from_millis(11), 2);
        digest.pair(Step::Put, b"key", b"value");
        digest.step(Step::Response, b"response");
        assert_eq!(digest.to_string(), "4443ce828b528446");
    }
}
