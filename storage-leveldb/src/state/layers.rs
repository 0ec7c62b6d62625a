//! The parts that the state consists of, and reading them as one.

use std::sync::Arc;

use bytes::Bytes;

use super::memtable::{Change, Memtable};
use super::merged::Merged;
use super::run::StateRun;
use crate::engine::{KeyRange, ScanLimit};
use crate::error::StorageError;

/// All parts of the state, from the newest to the oldest. Immutable but for what is added to `active`.
#[derive(Clone)]
pub(super) struct Layers {
    /// Where changes go.
    pub(super) active: Arc<Memtable>,
    /// Those that are on their way to the disk, the newest first.
    pub(super) sealed: Vec<Arc<Memtable>>,
    /// What is on disk, the newest first.
    pub(super) runs: Vec<Arc<StateRun>>,
}

/// The state at one moment: nothing that is applied later is seen. Keeps its parts, on disk too, for as long as it
/// lives.
#[derive(Clone)]
pub(crate) struct Pinned {
    layers: Arc<Layers>,
    at: u64,
}

impl Pinned {
    pub(super) fn new(layers: Arc<Layers>) -> Self {
        // All that was published before these layers came about is in them; see `Memtable`.
        let at = layers.active.published();
        Self { layers, at }
    }

    /// The log index of this moment; 0 if nothing was applied.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The value of a key as it is stored.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        for memtable in self.memtables() {
            if let Some(change) = memtable.get(key, self.at) {
                return Ok(change);
            }
        }
        for run in &self.layers.runs {
            if let Some(change) = run.get(key)? {
                return Ok(change);
            }
        }
        Ok(None)
    }

    fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.layers.active).chain(&self.layers.sealed)
    }

    /// All pairs in `range`, in order.
    fn pairs(&self, range: &KeyRange, wanted: usize) -> Merged {
        let memtables: Vec<_> = self.memtables().cloned().collect();
        Merged::new(&memtables, self.at, &self.layers.runs, range, wanted)
    }

    /// All there are.
    pub(crate) fn all_pairs(&self) -> Merged {
        self.pairs(&KeyRange::all(), usize::MAX)
    }

    /// Pairs in ascending key order, from the start of `range` until `limit`; at least one if there is one.
    pub(super) fn scan(
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
pub(super) fn changes_of(memtable: &Arc<Memtable>) -> Merged {
    Merged::new(std::slice::from_ref(memtable), u64::MAX, &[], &KeyRange::all(), usize::MAX)
}

/// The changes in several runs, the newest first, as one run has them.
pub(super) fn changes_in(runs: &[Arc<StateRun>]) -> Merged {
    Merged::new(&[], 0, runs, &KeyRange::all(), usize::MAX)
}

/// What a change says, for those who store it.
pub(super) fn as_stored(change: &Change) -> Option<&[u8]> {
    change.as_deref()
}
