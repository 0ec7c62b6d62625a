//! Keys in ascending order, to be searched often: the least that is not less than some key.
//!
//! A binary search through keys that lie anywhere waits for memory at every step. So what all keys
//! begin with is left out, and the eight bytes behind it are kept together, as numbers: those
//! decide nearly always.

use super::Damage;

const HEAD_BYTES: usize = 8;
/// How often a search guesses where it will end.
const GUESSES: usize = 2;
/// From there it goes on by so many, twice as many, and so on.
const FIRST_STEP: usize = 4;

/// Invariants: the keys ascend strictly; key `n` ends at `ends[n]` of `bytes`, where the next
/// begins; `heads` has for each the eight bytes behind the first `shared` ones, which all keys have
/// in common, filled up with zeros.
pub(super) struct Separators {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    shared: usize,
    heads: Vec<u64>,
}

fn head(rest: &[u8]) -> u64 {
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; HEAD_BYTES];
    for (to, from) in bytes.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_be_bytes(bytes)
}

/// Separators that are still to come, or have.
pub(super) struct SeparatorsBuilder(Separators);

impl SeparatorsBuilder {
    pub(super) fn new() -> Self {
        Self(Separators { bytes: Vec::new(), ends: Vec::new(), shared: 0, heads: Vec::new() })
    }

    /// Adds a key, which is greater than those before.
    pub(super) fn push(&mut self, key: &[u8]) -> Result<(), Damage> {
        let all = &mut self.0;
        if all.last().is_some_and(|last| last >= key) {
            return Err("the keys do not ascend");
        }
        all.bytes.extend_from_slice(key);
        all.ends.push(u32::try_from(all.bytes.len()).map_err(|_| "the keys are too long")?);
        Ok(())
    }

    pub(super) fn finish(self) -> Separators {
        let mut all = self.0;
        // What the first and the last begin with, all do.
        let (first, last) = (all.get(0).unwrap_or_default(), all.last().unwrap_or_default());
        all.shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let heads = (0..all.len())
            .map(|n| head(all.get(n).and_then(|key| key.get(all.shared..)).unwrap_or_default()));
        all.heads = heads.collect();
        debug_assert!(all.heads.is_sorted() && all.ends.is_sorted(), "heads and keys ascend");
        all.bytes.shrink_to_fit();
        all.ends.shrink_to_fit();
        all
    }
}

impl Separators {
    pub(super) fn new<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Damage> {
        let mut builder = SeparatorsBuilder::new();
        keys.into_iter().try_for_each(|key| builder.push(key))?;
        Ok(builder.finish())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, n: usize) -> Option<&[u8]> {
        let start = match n.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start as usize..*self.ends.get(n)? as usize)
    }

    fn last(&self) -> Option<&[u8]> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_each = size_of::<u32>() + size_of::<u64>();
        self.bytes.len() + self.len() * of_each
    }

    /// The first head that is not less than `wanted`; one behind the last if all are.
    ///
    /// Where keys are spread evenly, a guess from the first and the last one lies near, and one
    /// more from there nearly meets it: that waits for memory half as often as a binary search.
    /// Where they are not, the search from there takes twice the steps of a binary one at most.
    fn head_not_less(&self, wanted: u64) -> usize {
        let (Some(first), Some(last)) = (self.heads.first(), self.heads.last()) else { return 0 };
        if wanted <= *first {
            return 0;
        }
        if wanted > *last {
            return self.len();
        }
        let each = ((last - first) as f64 / self.len() as f64).max(1.0);
        let mut near = 0_usize;
        let mut near_head = *first;
        for _ in 0..GUESSES {
            let away = (wanted.abs_diff(near_head) as f64 / each) as usize;
            near = if near_head < wanted { near.saturating_add(away) } else { near.saturating_sub(away) };
            near = near.min(self.len() - 1);
            near_head = self.heads.get(near).copied().unwrap_or_default();
        }
        let (low, high) = self.around(near, wanted);
        let between = self.heads.get(low..high).unwrap_or_default();
        low + between.partition_point(|head| *head < wanted)
    }

    /// Heads before the first number are less than `wanted`, those from the second on are not; in
    /// steps that double, from `near` on.
    fn around(&self, near: usize, wanted: u64) -> (usize, usize) {
        let is_less = |n: usize| self.heads.get(n).is_some_and(|head| *head < wanted);
        let mut step = FIRST_STEP;
        let mut edge = near;
        if is_less(near) {
            let mut low = near;
            while is_less(edge) {
                low = edge + 1;
                edge = (edge + step).min(self.len());
                step *= 2;
            }
            return (low, edge);
        }
        let mut high = near;
        while edge > 0 && !is_less(edge) {
            high = edge;
            edge = edge.saturating_sub(step);
            step *= 2;
        }
        (edge, high)
    }

    /// The first that is not less than `key`; one behind the last if all are.
    pub(super) fn not_less(&self, key: &[u8]) -> usize {
        let common = self.bytes.get(..self.shared).unwrap_or_default();
        let Some(rest) = key.strip_prefix(common) else {
            return if key < common { 0 } else { self.len() };
        };
        let wanted = head(rest);
        let mut low = self.head_not_less(wanted);
        if self.heads.get(low) != Some(&wanted) {
            return low;
        }
        let mut high = self.heads.partition_point(|head| *head <= wanted);
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|separator| separator < key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_not_less_is_found() {
        let all: [&[&[u8]]; 6] = [
            &[],
            &[b""],
            &[b"", b"\0", b"\0\0", b"a"],
            &[b"key", b"key\0", b"key12345678", b"key12345678\0", b"key123456789", b"key9"],
            &[b"a", b"b", b"c\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\xff\xff"],
            &[b"same"],
        ];
        let asked = all.iter().copied().flatten().flat_map(|key| {
            [
                key.to_vec(),
                [key, &b"\0"[..]].concat(),
                [key, &b"x"[..]].concat(),
                key[..key.len() / 2].to_vec(),
            ]
        });
        let asked: Vec<_> =
            asked.chain([b"z".to_vec(), b"kex".to_vec(), b"kez".to_vec(), vec![0xff; 20]]).collect();
        for keys in all {
            let separators = Separators::new(keys.iter().copied()).unwrap();
            for key in &asked {
                let expected = keys.partition_point(|other| *other < key.as_slice());
                assert_eq!(separators.not_less(key), expected, "{key:?} in {keys:?}");
            }
        }
    }

    #[test]
    fn heads_are_found_however_they_are_spread() {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 16
        };
        let even: Vec<u64> = (0..500).map(|n| n * 1000).collect();
        let random: Vec<u64> = (0..500).map(|_| next()).collect();
        let crowded: Vec<u64> = (0..250).chain((1..250).map(|n| u64::MAX - n * n)).collect();
        let doubling: Vec<u64> = (0..64).map(|n| 1 << n).collect();
        for mut heads in [even, random, crowded, doubling, vec![7], vec![0, u64::MAX]] {
            heads.sort_unstable();
            let keys: Vec<_> = heads.iter().map(|head| head.to_be_bytes()).collect();
            let separators = Separators::new(keys.iter().map(<[u8; 8]>::as_slice)).unwrap();
            for near in heads.iter().flat_map(|head| [head.wrapping_sub(1), *head, head.wrapping_add(1)]) {
                let expected = heads.partition_point(|head| *head < near);
                assert_eq!(separators.not_less(&near.to_be_bytes()), expected, "{near} in {heads:?}");
            }
        }
    }

    #[test]
    fn keys_that_do_not_ascend_are_refused() {
        assert!(Separators::new([&b"b"[..], b"a"]).is_err());
        assert!(Separators::new([&b"a"[..], b"a"]).is_err());
    }
}
