//! What applying a command may do to the application's pairs.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_leveldb::StorageError;
use storage_leveldb::scan::{KeyRange, ScanLimit};

use super::effects::Effects;
use super::place;
use super::view::{decoded, encoded};

/// Reads and changes the application's pairs; reads its own writes, and those of the commands
/// before it. Nothing of it is seen by others before the command has been applied, and after a
/// crash either all of it is there or nothing.
pub struct Transaction<'t, 'b> {
    inner: Effects<'t, 'b>,
}

impl<'t, 'b> Transaction<'t, 'b> {
    pub(super) fn new(inner: Effects<'t, 'b>) -> Self {
        Self { inner }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// A storage fault.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.inner.get(&place::application(key))
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.inner.put(&place::application(key), value);
    }

    /// The value of `key` that [`store`](Self::store) put there.
    ///
    /// # Errors
    /// A storage fault, or what is there is not the encoding of a `T`.
    pub fn load<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, StorageError> {
        self.get(key)?.map(|bytes| decoded(key, &bytes)).transpose()
    }

    /// Sets the value of `key` to the encoding of `value`.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn store<T: Serialize>(&mut self, key: &[u8], value: &T) -> Result<(), StorageError> {
        self.put(key, &encoded(key, value)?);
        Ok(())
    }

    /// Merges `operand` into the value of `key`, as the application's
    /// [`MergeOperator`](super::MergeOperator) says; where there is no value, the operand becomes
    /// it. Nothing is read: that is done by a read of the key, or in the background.
    ///
    /// # Errors
    /// The application cannot merge it into what it wrote to this key since the state was last
    /// written to disk.
    pub fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<(), StorageError> {
        self.inner.merge(&place::application(key), operand)
    }

    /// Removes `key`; nothing happens if it is missing.
    pub fn delete(&mut self, key: &[u8]) {
        self.inner.delete(&place::application(key));
    }

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there
    /// is one.
    ///
    /// # Errors
    /// A storage fault.
    pub fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let pairs = limit.first_of(self.inner.scan(place::application_range(range)))?;
        Ok(pairs.into_iter().map(|(key, value)| (place::without_prefix(&key), value)).collect())
    }
}
