//! What a query may see.

use bytes::Bytes;

use super::key;
use super::version::PinnedVersion;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// Reads the pairs as they are after the last applied entry. Nothing changes while one query
/// tables.
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
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.pinned.get(&key::of_application(key))
    }

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there
    /// is one.
    ///
    /// # Errors
    /// A storage fault.
    pub fn scan(&mut self, range: KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let pairs = self.pinned.scan(&range.under(key::APPLICATION), limit)?;
        Ok(pairs.into_iter().map(|(key, value)| (key.slice(1..), value)).collect())
    }
}
