//! What becomes of a value that an operand is merged into, as the application says.
//!
//! The application is asked by a reader of a key, by a transaction and a memtable that have an
//! older change of the key, and by a compaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::change::Change;
use super::key;
use super::user_code::of_application;
use crate::disk::GuardedDisk;
use crate::error::StorageError;

/// What a value becomes when something is merged into it: gets the key, what is older, and the
/// operand.
pub(crate) type MergeFunction =
    Arc<dyn Fn(&[u8], &[u8], &[u8]) -> Result<Vec<u8>, StorageError> + Send + Sync>;

/// The same for the tree in `dir`, which has a fault when the application fails.
pub(crate) struct MergeOperator {
    merge: MergeFunction,
    disk: GuardedDisk,
    dir: PathBuf,
}

impl MergeOperator {
    pub(crate) fn new(merge: MergeFunction, disk: &GuardedDisk, dir: &Path) -> Arc<Self> {
        Arc::new(Self { merge, disk: disk.clone(), dir: dir.to_owned() })
    }

    /// What `older`, a value or an operand, becomes with `operand` merged into it. `key` is as it
    /// is stored.
    pub(crate) fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Bytes, StorageError> {
        let key = key.strip_prefix(&[key::APPLICATION]).unwrap_or(key);
        let doing = format_args!("merging into key {}", key.escape_ascii());
        let merged = of_application(&self.disk, &self.dir, doing, || (self.merge)(key, older, operand))?;
        Ok(merged.into())
    }

    /// What a change and the operand merged into it later come to.
    pub(crate) fn onto(&self, key: &[u8], older: &Change, operand: Bytes) -> Result<Change, StorageError> {
        Ok(match older {
            Change::Put(value) => Change::Put(self.merge(key, value, &operand)?),
            Change::Delete => Change::Put(operand),
            Change::Merge(older) => Change::Merge(self.merge(key, older, &operand)?),
        })
    }

    /// What two changes of a key come to.
    pub(crate) fn both(&self, key: &[u8], older: &Change, newer: Change) -> Result<Change, StorageError> {
        match newer {
            Change::Merge(operand) => self.onto(key, older, operand),
            complete => Ok(complete),
        }
    }

    /// The value of a key that had `older`.
    pub(crate) fn value(
        &self,
        key: &[u8],
        older: Option<Bytes>,
        operand: Bytes,
    ) -> Result<Bytes, StorageError> {
        match older {
            Some(older) => self.merge(key, &older, &operand),
            None => Ok(operand),
        }
    }
}

#[cfg(test)]
impl MergeOperator {
    pub(crate) fn that_appends() -> Arc<Self> {
        let disk = Arc::new(crate::testing::SimDisk::default());
        let disk = GuardedDisk::new(disk, Arc::new(crate::observer::Silent), Arc::new(()));
        let append = |_: &[u8], older: &[u8], operand: &[u8]| Ok([older, operand].concat());
        Self::new(Arc::new(append), &disk, Path::new("state"))
    }
}
