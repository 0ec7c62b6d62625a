//! What applying a command may do to the pairs.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use super::change::Change;
use super::key;
use super::merge_operator::MergeOperator;
use super::merging_iterator::FIRST_PAGE_PAIRS;
use super::version::PinnedVersion;
use crate::error::StorageError;
use crate::scan::{KeyRange, Scan};

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

    /// Sets the value of `key`. No snapshot can hold a key or a value of more than 64 MiB.
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

    /// The pairs in `range` in ascending key order, as [`View::scan`](crate::View::scan) answers
    /// them, with what this transaction has changed.
    pub fn scan<K: AsRef<[u8]> + ?Sized>(&self, range: impl RangeBounds<K>) -> Scan<'_> {
        let range = key::range_of_application(&range);
        let before = self.before.pairs(&range, FIRST_PAGE_PAIRS).peekable();
        let changes = self.changes_in(&range).peekable();
        let pairs = WithChanges { before, changes, operator: self.before.operator() };
        Scan::new(pairs.map(|pair| pair.map(key::to_application)))
    }

    fn changes_in(&self, range: &KeyRange) -> Range<'_, Vec<u8>, Change> {
        let start: &[u8] = &range.start;
        let end = range.end.as_deref();
        // Of one that ends before it begins the map wants to hear nothing.
        let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.max(start)));
        self.changes.range::<[u8], _>((Bound::Included(start), end))
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

/// The pairs of a state with the changes of a transaction.
struct WithChanges<'a, B: Iterator> {
    before: Peekable<B>,
    changes: Peekable<Range<'a, Vec<u8>, Change>>,
    operator: &'a MergeOperator,
}

impl<B: Iterator<Item = Result<(Bytes, Bytes), StorageError>>> Iterator for WithChanges<'_, B> {
    type Item = B::Item;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let changed = self.changes.peek();
            let order = match (self.before.peek(), changed) {
                (Some(Ok((key, _))), Some((changed, _))) => (**key).cmp(changed.as_slice()),
                (Some(_), _) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order.is_lt() {
                return self.before.next();
            }
            let older = if order.is_eq() { self.before.next() } else { None };
            let older = older.and_then(Result::ok).map(|(_, value)| value);
            let (key, change) = self.changes.next()?;
            let value = match change {
                Change::Put(value) => Ok(value.clone()),
                Change::Delete => continue,
                Change::Merge(operand) => self.operator.value(key, older, operand.clone()),
            };
            return Some(value.map(|value| (Bytes::copy_from_slice(key), value)));
        }
    }
}
