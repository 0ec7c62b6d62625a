//! Under which keys the state is stored.

use std::ops::RangeBounds;

use bytes::Bytes;

use crate::scan::KeyRange;

/// Before every key of the application.
pub(crate) const APPLICATION: u8 = b'a';

/// The stored key of an application's key.
pub(crate) fn of_application(key: &[u8]) -> Vec<u8> {
    [&[APPLICATION], key].concat()
}

/// The stored keys of a range of the application's keys.
pub(super) fn range_of_application<K: AsRef<[u8]> + ?Sized>(range: &impl RangeBounds<K>) -> KeyRange {
    let (range, all) = (KeyRange::of(range), KeyRange::prefix(&[APPLICATION]));
    let stored = |key: &Bytes| Bytes::from(of_application(key));
    KeyRange { start: stored(&range.start), end: range.end.as_ref().map(stored).or(all.end) }
}

/// A pair with the application's key in place of the stored one.
pub(super) fn to_application((key, value): (Bytes, Bytes)) -> (Bytes, Bytes) {
    debug_assert!(key.first() == Some(&APPLICATION), "a key of the application");
    (key.slice(1..), value)
}
