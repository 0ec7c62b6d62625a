//! What a query may see.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage_leveldb::StorageError;
use storage_leveldb::scan::{KeyRange, ScanLimit};

use super::hosted::meta_of;
use super::place;
use super::time::ClusterTime;

/// Reads the application's pairs as they are after the last applied command. Nothing changes while
/// one query runs.
pub struct View<'v, 'a> {
    inner: &'v mut storage_leveldb::View<'a>,
}

impl<'v, 'a> View<'v, 'a> {
    pub(crate) fn new(inner: &'v mut storage_leveldb::View<'a>) -> Self {
        Self { inner }
    }

    /// How many commands have been applied: the [`position`](super::At::position) of the last.
    ///
    /// # Errors
    /// A storage fault.
    pub fn position(&mut self) -> Result<u64, StorageError> {
        Ok(self.meta()?.position)
    }

    /// The [`time`](super::At::time) of the last command that came, also if it was one that came
    /// again and was not applied twice. The cluster's time goes on between commands, so what has
    /// expired by it has expired, and what has not may have.
    ///
    /// # Errors
    /// A storage fault.
    pub fn time(&mut self) -> Result<ClusterTime, StorageError> {
        Ok(self.meta()?.time)
    }

    fn meta(&mut self) -> Result<place::Meta, StorageError> {
        let stored = self.inner.get(&place::Meta::KEY)?;
        meta_of(stored.as_deref())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// A storage fault.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.inner.get(&place::application(key))
    }

    /// The value of `key` that [`Transaction::store`](super::Transaction::store) put there.
    ///
    /// # Errors
    /// A storage fault, or what is there is not the encoding of a `T`.
    pub fn load<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>, StorageError> {
        self.get(key)?.map(|bytes| decoded(key, &bytes)).transpose()
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

/// What is stored of a typed value under `key`.
///
/// # Errors
/// It cannot be encoded.
pub(crate) fn encoded<T: Serialize>(key: &[u8], value: &T) -> Result<Vec<u8>, StorageError> {
    codec::encode(value).map_err(|e| StorageError::corrupt(format!("{}: {e}", key.escape_ascii())))
}

/// A typed value, from what is stored under `key`.
///
/// # Errors
/// It is none.
pub(crate) fn decoded<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StorageError> {
    codec::decode(bytes).map_err(|e| StorageError::corrupt(format!("{}: {e}", key.escape_ascii())))
}
