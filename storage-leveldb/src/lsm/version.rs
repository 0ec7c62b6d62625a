//! The parts that a tree consists of at one moment, and reading them as one.

use std::sync::Arc;

use bytes::Bytes;

use super::change::Change;
use super::manifest::Frontier;
use super::memtable::Memtable;
use super::merge_operator::MergeOperator;
use super::merging_iterator::MergingIterator;
use super::table::StateTable;
use crate::error::StorageError;
use crate::scan::KeyRange;

/// All parts of a tree, from the newest to the oldest. Immutable but for what is added to `active`.
#[derive(Clone)]
pub(crate) struct Version {
    /// Where changes go.
    pub(crate) active: Arc<Memtable>,
    /// Those that are on their way to the disk, the newest first.
    pub(crate) sealed: Vec<Arc<Memtable>>,
    /// What is on disk, the newest first.
    pub(crate) tables: Vec<Arc<StateTable>>,
    /// How far that is.
    pub(crate) frontier: Frontier,
    /// Makes values of what was merged.
    pub(crate) operator: Arc<MergeOperator>,
}

/// A tree at one sequence number: nothing that is applied later is seen. Keeps its parts, on disk
/// too, for as long as it lives.
#[derive(Clone)]
pub(crate) struct PinnedVersion {
    version: Arc<Version>,
    sequence: u64,
}

impl PinnedVersion {
    pub(crate) fn new(version: Arc<Version>) -> Self {
        // All that was published before this version came about is in it; see `Memtable`.
        let sequence = version.active.published();
        Self { version, sequence }
    }

    /// The sequence number of the last change that is seen; 0 if there is none.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn operator(&self) -> &MergeOperator {
        &self.version.operator
    }

    /// The value of a key as it is stored.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        // What newer parts merged into the value that is still to be found.
        let mut newer: Option<Bytes> = None;
        for change in self.changes(key) {
            let change = match newer.take() {
                Some(operand) => self.operator().onto(key, &change?, operand)?,
                None => change?,
            };
            match change {
                Change::Merge(operand) => newer = Some(operand),
                complete => return Ok(complete.alone()),
            }
        }
        Ok(newer)
    }

    /// What the parts say of a key, the newest first; each is asked only if it is wanted.
    fn changes(&self, key: &[u8]) -> impl Iterator<Item = Result<Change, StorageError>> {
        let in_memory = self.memtables().filter_map(|memtable| memtable.get(key, self.sequence).map(Ok));
        in_memory.chain(self.version.tables.iter().filter_map(|table| table.get(key).transpose()))
    }

    fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.version.active).chain(&self.version.sealed)
    }

    /// All pairs in `range`, in order. So many are read of each part at first.
    pub(crate) fn pairs(
        &self,
        range: &KeyRange,
        first_pairs: usize,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> + use<> {
        let memtables: Vec<_> = self.memtables().cloned().collect();
        let (operator, tables) = (&self.version.operator, &self.version.tables);
        MergingIterator::new(operator, &memtables, self.sequence, tables, range, first_pairs).pairs()
    }
}

/// The part of a tree that outlives a crash, at one frontier. Its tables stay on disk as long as
/// this lives.
#[derive(Clone)]
pub(crate) struct Checkpoint {
    pub(crate) frontier: Frontier,
    pub(crate) tables: Vec<Arc<StateTable>>,
    pub(crate) operator: Arc<MergeOperator>,
}

impl Checkpoint {
    /// All pairs in key order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Result<(Bytes, Bytes), StorageError>> + Send + use<> {
        changes_in(&self.tables, &self.operator).pairs()
    }

    /// For queries.
    pub(crate) fn pin(&self) -> PinnedVersion {
        let active = Arc::new(Memtable::new(0, self.frontier.sequence));
        let Self { frontier, tables, operator } = self.clone();
        PinnedVersion::new(Arc::new(Version { active, sealed: Vec::new(), tables, frontier, operator }))
    }

    /// Keys and stored values of its tables; what older tables still have of a pair counts as well.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.record.bytes).sum()
    }
}

/// The changes in a sealed memtable, each key's newest, in order.
pub(crate) fn changes_of(memtable: &Arc<Memtable>, operator: &Arc<MergeOperator>) -> MergingIterator {
    let memtables = std::slice::from_ref(memtable);
    MergingIterator::new(operator, memtables, u64::MAX, &[], &KeyRange::all(), usize::MAX)
}

/// The changes in several tables, the newest first, as one table has them.
pub(crate) fn changes_in(tables: &[Arc<StateTable>], operator: &Arc<MergeOperator>) -> MergingIterator {
    MergingIterator::new(operator, &[], 0, tables, &KeyRange::all(), usize::MAX)
}
