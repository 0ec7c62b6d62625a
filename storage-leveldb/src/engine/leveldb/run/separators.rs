//! Keys in ascending order, to be searched often: the least that is not less than some key.
//!
//! A binary search through keys that lie anywhere waits for memory at every step. So what all keys begin with is left
//! out, and the eight bytes behind it are kept together, as numbers: those decide nearly always.

use super::Damage;

const HEAD_BYTES: usize = 8;

/// Invariants: the keys ascend strictly; key `n` ends at `ends[n]` of `bytes`, where the next begins; `heads` has for each
/// the eight bytes behind the first `shared` ones, which all keys have in common, filled up with zeros.
pub(super) struct Separators {
    bytes: Vec<u8>,
    ends: Vec<usize>,
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

impl Separators {
    pub(super) fn new<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Damage> {
        let mut all = Self { bytes: Vec::new(), ends: Vec::new(), shared: 0, heads: Vec::new() };
        for key in keys {
            if all.last().is_some_and(|last| last >= key) {
                return Err("the keys do not ascend");
            }
            all.bytes.extend_from_slice(key);
            all.ends.push(all.bytes.len());
        }
        // What the first and the last begin with, all do.
        let (first, last) = (all.get(0).unwrap_or_default(), all.last().unwrap_or_default());
        all.shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let heads = (0..all.len())
            .map(|n| head(all.get(n).and_then(|key| key.get(all.shared..)).unwrap_or_default()));
        all.heads = heads.collect();
        all.bytes.shrink_to_fit();
        all.ends.shrink_to_fit();
        Ok(all)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, n: usize) -> Option<&[u8]> {
        let start = match n.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(n)?)
    }

    fn last(&self) -> Option<&[u8]> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Memory that they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let of_each = size_of::<usize>().saturating_add(size_of::<u64>());
        self.bytes.len().saturating_add(self.len().saturating_mul(of_each))
    }

    /// The first that is not less than `key`; one behind the last if all are.
    pub(super) fn not_less(&self, key: &[u8]) -> usize {
        let common = self.bytes.get(..self.shared).unwrap_or_default();
        let Some(rest) = key.strip_prefix(common) else {
            return if key < common { 0 } else { self.len() };
        };
        let wanted = head(rest);
        let mut low = self.heads.partition_point(|head| *head < wanted);
        if self.heads.get(low) != Some(&wanted) {
            return low;
        }
        let mut high = self.heads.partition_point(|head| *head <= wanted);
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(|separator| separator < key) {
                low = middle.saturating_add(1);
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
    fn keys_that_do_not_ascend_are_refused() {
        assert!(Separators::new([&b"b"[..], b"a"]).is_err());
        assert!(Separators::new([&b"a"[..], b"a"]).is_err());
    }
}
