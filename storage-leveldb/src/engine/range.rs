//! Which keys a scan covers, and how much of them it returns.

use bytes::Bytes;

/// Keys from `start` up to but excluding `end`.
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

    /// The same range of the keys that have `prefix` put before them.
    pub(crate) fn under(&self, prefix: u8) -> Self {
        let place = |key: &[u8]| Bytes::from([&[prefix], key].concat());
        let end = match &self.end {
            Some(end) => place(end),
            None => Bytes::from(successor(&[prefix]).unwrap_or_default()),
        };
        Self { start: place(&self.start), end: Some(end) }
    }
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
    fn a_prefix_of_the_greatest_bytes_has_no_end() {
        assert_eq!(KeyRange::prefix(&[0xff, 0xff]).end, None);
        assert_eq!(KeyRange::prefix(b"").end, None);
    }
}
