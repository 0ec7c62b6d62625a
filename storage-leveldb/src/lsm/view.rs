//! What a query may see.

use std::ops::RangeBounds;

use bytes::Bytes;

use super::key;
use super::merging_iterator::FIRST_PAGE_PAIRS;
use super::version::PinnedVersion;
use crate::error::StorageError;
use crate::scan::Scan;

/// Reads the pairs as they are after the last applied entry. Nothing changes while a query reads.
pub struct View<'a> {
    pinned: &'a PinnedVersion,
}

impl<'a> View<'a> {
    pub(crate) fn new(pinned: &'a PinnedVersion) -> Self {
        Self { pinned }
    }

    /// Log index of the last applied entry; 0 if there is none.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.pinned.sequence()
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// A storage fault.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.pinned.get(&key::of_application(key))
    }

    /// The pairs in `range` in ascending key order: `view.scan(a..b)` for keys that are slices or
    /// vectors, [`KeyRange`](crate::scan::KeyRange) for all of them or those with a prefix.
    pub fn scan<K: AsRef<[u8]> + ?Sized>(&self, range: impl RangeBounds<K>) -> Scan<'_> {
        let pairs = self.pinned.pairs(&key::range_of_application(&range), FIRST_PAGE_PAIRS);
        Scan::new(pairs.map(|pair| pair.map(key::to_application)))
    }
}
