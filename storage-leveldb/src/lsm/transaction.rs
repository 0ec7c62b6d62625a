//! What applying a command may do to the pairs.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Bound;

use bytes::Bytes;

use super::change::Change;
use super::key;
use super::version::PinnedVersion;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// Reads and changes pairs; reads its own writes, and those of the commands before it.
///
/// Nothing of it is seen by others before all commands of an apply batch have run; then everything
/// is, with the applied log index, at once.
pub struct Transaction<'a> {
    before: PinnedVersion,
    /// Keys as they are stored.
    changes: BTreeMap<Vec<u8>, Change>,
    bytes: usize,
    /// Values are merged when the application says so, and not when they are read.
    merges_at_once: bool,
    /// A transaction ends with its batch.
    _batch: PhantomData<&'a ()>,
}

impl Transaction<'_> {
    pub(crate) fn new(before: PinnedVersion) -> Self {
        Self { before, changes: BTreeMap::new(), bytes: 0, merges_at_once: false, _batch: PhantomData }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// A storage fault.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let key = key::of_application(key);
        match self.changes.get(&key) {
            Some(Change::Merge(operand)) => {
                let before = self.before.get(&key)?;
                let value = self.before.operator().value(&key, before, operand.clone())?;
                // The next read in this transaction finds it.
                self.change(key, Change::Put(value.clone()));
                Ok(Some(value))
            }
            Some(change) => Ok(change.clone().alone()),
            None => self.before.get(&key),
        }
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.change(key::of_application(key), Change::Put(Bytes::copy_from_slice(value)));
    }

    /// Merges `operand` into the value of `key`, as
    /// [`Application::merge`](crate::Application::merge) says; where there is no value, the operand
    /// becomes it. Nothing is read now: a later read of the key merges it, or a compaction.
    ///
    /// # Errors
    /// The application cannot merge it into what it wrote to this key since the state was last
    /// written to disk.
    pub fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<(), StorageError> {
        let before = if self.merges_at_once { Some(self.get(key)?) } else { None };
        let (key, operand) = (key::of_application(key), Bytes::copy_from_slice(operand));
        if let Some(before) = before {
            let value = self.before.operator().value(&key, before, operand)?;
            self.change(key, Change::Put(value));
            return Ok(());
        }
        let change = match self.changes.get(&key) {
            Some(older) => self.before.operator().onto(&key, older, operand)?,
            None => Change::Merge(operand),
        };
        self.change(key, change);
        Ok(())
    }

    /// From now on every value is read when something is merged into it.
    #[cfg(feature = "testing")]
    pub(crate) fn merge_at_once(&mut self) {
        self.merges_at_once = true;
    }

    /// Removes `key`; nothing happens if it is missing.
    pub fn delete(&mut self, key: &[u8]) {
        self.change(key::of_application(key), Change::Delete);
    }

    fn change(&mut self, key: Vec<u8>, change: Change) {
        self.bytes += key.len() + change.bytes();
        self.changes.insert(key, change);
    }

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there
    /// is one.
    ///
    /// # Errors
    /// A storage fault.
    pub fn scan(&mut self, range: KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let mut range = range.under(key::APPLICATION);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        loop {
            let page = self.before.scan(&range, limit)?;
            let page_bytes = page.iter().map(|(key, value)| key.len() + value.len()).sum();
            let page_end = if limit.is_reached(page.len(), page_bytes) {
                page.last().map(|(key, _)| after(key))
            } else {
                None
            };
            for (key, value) in self.with_changes(&range, page_end.as_deref(), page)? {
                bytes += key.len() + value.len();
                found.push((key.slice(1..), value));
                if limit.is_reached(found.len(), bytes) {
                    return Ok(found);
                }
            }
            match page_end {
                Some(next) => range.start = next.into(),
                None => return Ok(found),
            }
        }
    }

    /// A page of the database, from the start of `range` up to `page_end` (else all of it), with
    /// the changes.
    fn with_changes(
        &self,
        range: &KeyRange,
        page_end: Option<&[u8]>,
        page: Vec<(Bytes, Bytes)>,
    ) -> Result<BTreeMap<Bytes, Bytes>, StorageError> {
        let mut merged: BTreeMap<Bytes, Bytes> = page.into_iter().collect();
        let end = page_end.or(range.end.as_deref()).map_or(Bound::Unbounded, Bound::Excluded);
        if range.end.as_deref().is_some_and(|end| end <= &*range.start) {
            return Ok(merged);
        }
        for (key, change) in self.changes.range::<[u8], _>((Bound::Included(&*range.start), end)) {
            let before = merged.remove(key.as_slice());
            let value = match change {
                Change::Put(value) => value.clone(),
                Change::Delete => continue,
                Change::Merge(operand) => self.before.operator().value(key, before, operand.clone())?,
            };
            merged.insert(Bytes::copy_from_slice(key), value);
        }
        Ok(merged)
    }

    /// Bytes of the changes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes, by stored key.
    pub(crate) fn into_changes(self) -> BTreeMap<Vec<u8>, Change> {
        self.changes
    }
}

/// The least key greater than `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
