//! What applying does to the stored pairs, all of it counted in the digest.

use std::ops::RangeBounds;

use bytes::Bytes;
use storage_leveldb::scan::Scan;
use storage_leveldb::{StorageError, Transaction};

use super::digest::{Digest, Step};

/// A transaction of the storage, and the digest of what is asked of it.
///
/// What counts is what was asked, not what the storage makes of it: an operand is folded into its
/// value at another moment on each node.
pub(crate) struct Effects<'t, 'b> {
    txn: &'t mut Transaction<'b>,
    digest: &'t mut Digest,
}

impl<'t, 'b> Effects<'t, 'b> {
    pub(super) fn new(txn: &'t mut Transaction<'b>, digest: &'t mut Digest) -> Self {
        Self { txn, digest }
    }

    /// The same, for as long as it is borrowed.
    pub(super) fn reborrow(&mut self) -> Effects<'_, 'b> {
        Effects { txn: self.txn, digest: self.digest }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.txn.get(key)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.digest.pair(Step::Put, key, value);
        self.txn.put(key, value);
    }

    pub(super) fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<(), StorageError> {
        self.digest.pair(Step::Merge, key, operand);
        self.txn.merge(key, operand)
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.digest.step(Step::Delete, key);
        self.txn.delete(key);
    }

    /// A command was answered: what a client is told comes from the state as well.
    pub(super) fn answered(&mut self, response: &[u8]) {
        self.digest.step(Step::Response, response);
    }

    pub(super) fn scan<K: AsRef<[u8]> + ?Sized>(&self, range: impl RangeBounds<K>) -> Scan<'_> {
        self.txn.scan(range)
    }
}
