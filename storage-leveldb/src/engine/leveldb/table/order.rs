//! The order of keys in a table: that of their bytes, as everywhere.
//!
//! rusty-leveldb's own order makes separators that a reader of ours could not rely on: between
//! `abc` and `abc\0` it puts `abc\0`, so that a key's block is not told by the index alone; and it
//! panics for an empty key at the end of a block.

use std::cmp::Ordering;

use rusty_leveldb::Cmp;

pub(super) struct BytewiseOrder;

impl Cmp for BytewiseOrder {
    fn cmp(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    /// The shortest key that can be told at a glance to be at least `from` and less than `to`.
    fn find_shortest_sep(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if let (Some(head), Some(byte), Some(other)) = (from.get(..shared), from.get(shared), to.get(shared))
            && let Some(next) = byte.checked_add(1).filter(|next| next < other)
        {
            return [head, &[next]].concat();
        }
        from.to_vec()
    }

    fn find_short_succ(&self, key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }

    /// What MANIFEST calls this order, and LevelDB too.
    fn id(&self) -> &'static str {
        "leveldb.BytewiseComparator"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_between() {
        for (from, to, expected) in [
            (&b"abc"[..], &b"abx"[..], &b"abd"[..]),
            (b"abc", b"abd", b"abc"),
            (b"abc", b"abc\0", b"abc"),
            (b"ab", b"abc", b"ab"),
            (b"", b"a", b""),
            (b"a\xff\xff", b"c", b"b"),
            (b"\xfe\xff", b"\xff\xff", b"\xfe\xff"),
        ] {
            let found = BytewiseOrder.find_shortest_sep(from, to);
            assert_eq!(found, expected);
            assert!(from <= &found[..] && &found[..] < to);
        }
    }
}
