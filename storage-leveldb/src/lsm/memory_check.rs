//! Finding bits that were flipped in memory, in what is not on disk yet.
//!
//! What is on disk has checksums, and these are made of what is in memory then. So the memtables
//! have checksums of their own, made when a change comes.

use super::memtable::Memtable;
use super::tree::LsmTree;
use crate::error::StorageError;
use crate::health::Fault;

impl LsmTree {
    /// Whether what is in memory is what was applied.
    ///
    /// # Errors
    /// It is not, which is latched.
    pub(crate) fn check_memory(&self) -> Result<(), StorageError> {
        let version = self.version();
        std::iter::once(&version.active).chain(&version.sealed).try_for_each(|part| self.check_memtable(part))
    }

    /// The same of a part.
    pub(super) fn check_memtable(&self, memtable: &Memtable) -> Result<(), StorageError> {
        memtable.check_memory().map_err(|fault| self.latched(fault.into()))
    }

    /// A memtable does not know whose it is.
    pub(super) fn latched(&self, error: StorageError) -> StorageError {
        match error {
            StorageError::Fault(fault) => {
                let fault = Fault::new(fault.kind, self.dir(), fault.reason);
                self.disk.latch(fault).into()
            }
            other => other,
        }
    }
}
