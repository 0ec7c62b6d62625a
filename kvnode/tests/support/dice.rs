//! Random choices that can be made again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Set to a printed seed, the same choices are made again.
const SEED_VARIABLE: &str = "KV_TESTS_SEED";

/// A random sequence (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Seeded from the environment or the clock; prints the seed.
    pub fn new(test: &str) -> Self {
        let given = std::env::var(SEED_VARIABLE).ok();
        let seed = given.map_or_else(fresh_seed, |text| text.parse().expect("KV_TESTS_SEED is a number"));
        println!("{test}: random choices from {SEED_VARIABLE}={seed}");
        Self(seed)
    }

    /// Not to be replayed.
    pub fn unseeded() -> Self {
        Self(fresh_seed())
    }

    /// Another sequence, for a task that rolls at the same time.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("masked") ^ u64::from(std::process::id())
}
