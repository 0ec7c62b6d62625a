//! Which tables the tree consists of on disk, and how far they are.
//!
//! ```text
//! MANIFEST    a marker file: codec bytes of the format, the frontier, and the tables, the newest first
//! ```
//!
//! Replaced as a whole, so that the tables and the frontier are of one moment, whatever a crash
//! leaves.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::table::TableRecord;
use crate::disk::GuardedDisk;
use crate::file::marker;
use crate::health::Fault;

/// The file's name.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// Version of what is stored in MANIFEST and in the tables.
const FORMAT: u8 = 1;

/// How far the changes in a tree are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frontier {
    /// Sequence number of the last change; 0 if there was none.
    pub(crate) sequence: u64,
    /// What the owner of the tree keeps together with it; means nothing here. Empty: nothing yet.
    pub(crate) metadata: Vec<u8>,
}

/// The frontier, and the tables that hold exactly the changes up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u8,
    pub(crate) frontier: Frontier,
    /// The newest first.
    pub(crate) tables: Vec<TableRecord>,
}

impl Default for Manifest {
    /// That of an empty tree.
    fn default() -> Self {
        Self::new(Frontier::default(), Vec::new())
    }
}

impl Manifest {
    pub(crate) fn new(frontier: Frontier, tables: Vec<TableRecord>) -> Self {
        Self { format: FORMAT, frontier, tables }
    }

    /// What MANIFEST in `dir` says; `None` if there is none.
    pub(crate) fn read(disk: &GuardedDisk, dir: &Path) -> Result<Option<Self>, Fault> {
        marker::read_value(disk, &dir.join(MANIFEST), "state", FORMAT)
    }

    /// From now on this is the tree; durable when it returns.
    pub(crate) fn replace(&self, disk: &GuardedDisk, dir: &Path) -> Result<(), Fault> {
        marker::replace_value(disk, &dir.join(MANIFEST), self)
    }
}
