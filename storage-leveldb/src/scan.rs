//! Which keys a scan covers, its pairs, and how many of them are taken.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use crate::error::StorageError;

type Pair = Result<(Bytes, Bytes), StorageError>;

/// Pairs in ascending key order, read as they are asked for: a scan holds some 2 MiB of them,
/// however many it covers. An error is the last that it answers.
pub struct Scan<'a>(Option<Box<dyn Iterator<Item = Pair> + 'a>>);

impl<'a> Scan<'a> {
    pub(crate) fn new(pairs: impl Iterator<Item = Pair> + 'a) -> Self {
        Self(Some(Box::new(pairs)))
    }
}

impl Iterator for Scan<'_> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        let next = self.0.as_mut()?.next();
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        next
    }
}

/// Keys from `start` up to but excluding `end`: a range that a scan takes, as it takes the standard
/// library's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// First key covered.
    pub start: Bytes,
    /// First key behind it; `None`: to the end.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// Every key that starts with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { start: Bytes::copy_from_slice(prefix), end: successor(prefix).map(Bytes::from) }
    }

    /// Whether `key` is covered.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &*self.start && self.end.as_ref().is_none_or(|end| key < &**end)
    }

    /// The same keys as a range of the standard library's.
    pub(crate) fn of<K: AsRef<[u8]> + ?Sized>(range: &impl RangeBounds<K>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(key) => Bytes::copy_from_slice(key.as_ref()),
            Bound::Excluded(key) => after(key.as_ref()),
            Bound::Unbounded => Bytes::new(),
        };
        let end = match range.end_bound() {
            Bound::Included(key) => Some(after(key.as_ref())),
            Bound::Excluded(key) => Some(Bytes::copy_from_slice(key.as_ref())),
            Bound::Unbounded => None,
        };
        Self { start, end }
    }
}

impl RangeBounds<[u8]> for KeyRange {
    fn start_bound(&self) -> Bound<&[u8]> {
        Bound::Included(&self.start)
    }

    fn end_bound(&self) -> Bound<&[u8]> {
        self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)
    }
}

/// The least key greater than `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// The least key greater than every key that starts with `prefix`; `None` if there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix.get(..=kept)?.to_vec();
    // Not 255: that is what `kept` was searched for.
    *next.last_mut()? += 1;
    Some(next)
}

/// How much a scan returns: it stops after the pair that reaches either bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimit {
    /// At most this many pairs.
    pub pairs: usize,
    /// Stop once keys and values add up to this many bytes.
    pub bytes: usize,
}

impl ScanLimit {
    /// The first of `pairs`; at least one if there is one.
    ///
    /// # Errors
    /// That of the scan.
    pub fn first_of(self, pairs: Scan<'_>) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let mut page = self.page();
        for pair in pairs {
            let (key, value) = pair?;
            let bytes = key.len() + value.len();
            if !page.push(key, value, bytes) {
                break;
            }
        }
        Ok(page.into_found())
    }

    /// An empty page that ends there.
    pub(crate) fn page<V>(self) -> Page<V> {
        Page { limit: self, found: Vec::new(), bytes: 0 }
    }

    /// Whether what has been gathered ends the scan.
    #[must_use]
    pub fn is_reached(&self, pairs: usize, bytes: usize) -> bool {
        pairs >= self.pairs || bytes >= self.bytes
    }
}

/// What a scan has found so far.
pub(crate) struct Page<V> {
    limit: ScanLimit,
    found: Vec<(Bytes, V)>,
    bytes: usize,
}

impl<V> Page<V> {
    /// Adds what was found at `key`, of so many bytes; `false`: the page is full.
    #[must_use]
    pub(crate) fn push(&mut self, key: Bytes, value: V, bytes: usize) -> bool {
        self.bytes += bytes;
        self.found.push((key, value));
        !self.limit.is_reached(self.found.len(), self.bytes)
    }

    pub(crate) fn into_found(self) -> Vec<(Bytes, V)> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_what_starts_with_it() {
        let range = KeyRange::prefix(b"a\xff");
        assert!(range.contains(b"a\xff") && range.contains(b"a\xff\xff"));
        assert!(!range.contains(b"a\xfe") && !range.contains(b"b"));
    }

    #[test]
    fn a_range_of_the_standard_library_covers_the_same_keys() {
        let keys: [&[u8]; 5] = [b"", b"a", b"a\0", b"b", b"b\0"];
        let bounds = |key| [Bound::Unbounded, Bound::Included(key), Bound::Excluded(key)];
        for range in bounds(&b"a"[..]).into_iter().flat_map(|a| bounds(b"b").map(|b| (a, b))) {
            let ours = KeyRange::of::<[u8]>(&range);
            for key in keys {
                assert_eq!(
                    ours.contains(key),
                    RangeBounds::<[u8]>::contains(&range, key),
                    "{range:?} {key:?}"
                );
                assert_eq!(
                    ours.contains(key),
                    RangeBounds::<[u8]>::contains(&ours, key),
                    "{range:?} {key:?}"
                );
            }
            assert_eq!(KeyRange::of::<[u8]>(&ours), ours);
        }
        assert_eq!(KeyRange::of(&(b"a".to_vec()..)), KeyRange { start: Bytes::from_static(b"a"), end: None });
    }

    #[test]
    fn a_scan_ends_with_its_first_error() {
        let pair = || Ok((Bytes::new(), Bytes::new()));
        let mut scan = Scan::new([pair(), Err(StorageError::Closed), pair()].into_iter());
        assert!(scan.next().is_some_and(|first| first.is_ok()));
        assert!(scan.next().is_some_and(|second| second.is_err()));
        assert!(scan.next().is_none());
    }

    #[test]
    fn a_prefix_of_the_greatest_bytes_has_no_end() {
        assert_eq!(KeyRange::prefix(&[0xff, 0xff]).end, None);
        assert_eq!(KeyRange::prefix(b"").end, None);
    }
}
