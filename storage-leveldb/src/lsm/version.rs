//! The parts that the state consists of, and reading them as one.

use std::sync::Arc;

use bytes::Bytes;

use super::change::Change;
use super::memtable::Memtable;
use super::merge_operator::MergeOperator;
use super::merging_iterator::Merged;
use super::table::StateRun;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// All parts of the state, from the newest to the oldest. Immutable but for what is added to `active`.
#[derive(Clone)]
pub(crate) struct Layers {
    /// Where changes go.
    pub(crate) active: Arc<Memtable>,
    /// Those that are on their way to the disk, the newest first.
    pub(crate) sealed: Vec<Arc<Memtable>>,
    /// What is on disk, the newest first.
    pub(crate) runs: Vec<Arc<StateRun>>,
    /// Makes values of what was merged.
    pub(crate) operator: Arc<MergeOperator>,
}

/// The state at one moment: nothing that is applied later is seen. Keeps its parts, on disk too, for as long as it
/// lives.
#[derive(Clone)]
pub(crate) struct Pinned {
    layers: Arc<Layers>,
    at: u64,
}

impl Pinned {
    pub(crate) fn new(layers: Arc<Layers>) -> Self {
        // All that was published before these layers came about is in them; see `Memtable`.
        let at = layers.active.published();
        Self { layers, at }
    }

    /// The log index of this moment; 0 if nothing was applied.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn operator(&self) -> &MergeOperator {
        &self.layers.operator
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
        let in_memory = self.memtables().filter_map(|memtable| memtable.get(key, self.at).map(Ok));
        in_memory.chain(self.layers.runs.iter().filter_map(|run| run.get(key).transpose()))
    }

    fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.layers.active).chain(&self.layers.sealed)
    }

    /// All pairs in `range`, in order.
    fn pairs(&self, range: &KeyRange, wanted: usize) -> Merged {
        let memtables: Vec<_> = self.memtables().cloned().collect();
        Merged::new(&self.layers.operator, &memtables, self.at, &self.layers.runs, range, wanted)
    }

    /// All there are.
    pub(crate) fn all_pairs(&self) -> Merged {
        self.pairs(&KeyRange::all(), usize::MAX)
    }

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there is one.
    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let mut pairs = self.pairs(range, limit.pairs);
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        while let Some((key, value)) = pairs.next_pair()? {
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            found.push((key, value));
            if limit.is_reached(found.len(), bytes) {
                break;
            }
        }
        Ok(found)
    }
}

/// The changes in a sealed memtable, each key's newest, in order.
pub(crate) fn changes_of(memtable: &Arc<Memtable>, operator: &Arc<MergeOperator>) -> Merged {
    Merged::new(operator, std::slice::from_ref(memtable), u64::MAX, &[], &KeyRange::all(), usize::MAX)
}

/// The changes in several runs, the newest first, as one run has them.
pub(crate) fn changes_in(runs: &[Arc<StateRun>], operator: &Arc<MergeOperator>) -> Merged {
    Merged::new(operator, &[], 0, runs, &KeyRange::all(), usize::MAX)
}
