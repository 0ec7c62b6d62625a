//! The table files that tables keep open, bounded in number and bytes over all tables of one
//! [`LevelDb`](super::super::LevelDb).
//!
//! Each table file of each table has a [`Slot`] that is empty or has the table file open. A reader
//! that finds it there touches nothing that table files share. Only opening one takes the ring's
//! lock, in which the slots that are not empty stand in the order of a clock: the hand empties the
//! first that no reader has used since it last came by.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::table_file::TableFile;
use crate::health::Fault;

/// Room for one open table file. A reader may go on with one that was taken out meanwhile.
pub(super) struct Slot {
    of: TableId,
    file: RwLock<Option<Arc<TableFile>>>,
    used: AtomicBool,
}

/// Tells tables apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableId(u64);

impl Slot {
    pub(super) fn new(table: TableId) -> Arc<Self> {
        Arc::new(Self { of: table, file: RwLock::default(), used: AtomicBool::new(false) })
    }

    fn kept(&self) -> Option<Arc<TableFile>> {
        let table = self.file.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Written only if it changes: all readers of a table file share this byte.
        if table.is_some() && !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        table
    }
}

/// A slot that is not empty.
struct Kept {
    slot: Arc<Slot>,
    bytes: usize,
}

/// Invariant: `bytes` is the sum over `kept`; every slot is in it at most once.
#[derive(Default)]
struct Ring {
    kept: VecDeque<Kept>,
    bytes: usize,
}

/// Invariant: at most `max_tables` table files of `max_bytes` together are kept, but always the
/// last one opened.
pub(crate) struct TableCache {
    max_bytes: usize,
    max_tables: usize,
    ring: Mutex<Ring>,
    next_id: AtomicU64,
}

impl TableCache {
    pub(crate) fn new(max_bytes: usize, max_tables: usize) -> Self {
        Self { max_bytes, max_tables, ring: Mutex::default(), next_id: AtomicU64::new(0) }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_id(&self) -> TableId {
        TableId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The table file of a slot, which `open` opens if it is not open.
    pub(super) fn get(
        &self,
        slot: &Arc<Slot>,
        open: impl FnOnce() -> Result<TableFile, Fault>,
    ) -> Result<Arc<TableFile>, Fault> {
        if let Some(table) = slot.kept() {
            return Ok(table);
        }
        let mut place = slot.file.write().unwrap_or_else(PoisonError::into_inner);
        // Another reader may have been faster.
        if let Some(table) = &*place {
            return Ok(table.clone());
        }
        let table = Arc::new(open()?);
        *place = Some(table.clone());
        drop(place);
        self.admit(slot, table.memory_bytes());
        Ok(table)
    }

    fn admit(&self, slot: &Arc<Slot>, bytes: usize) {
        let mut ring = self.ring();
        let evicted = self.make_room(&mut ring, bytes);
        ring.bytes += bytes;
        ring.kept.push_back(Kept { slot: slot.clone(), bytes });
        debug_assert_eq!(
            ring.bytes,
            ring.kept.iter().map(|kept| kept.bytes).sum::<usize>(),
            "all that is kept"
        );
        debug_assert!(ring.kept.len() <= self.max_tables.max(1), "no more than may be kept");
        drop(ring);
        // Their files are closed without the lock.
        drop(evicted);
    }

    fn make_room(&self, ring: &mut Ring, bytes: usize) -> Vec<Arc<TableFile>> {
        let mut evicted = Vec::new();
        // Twice around: all may have been used.
        for _ in 0..2 * ring.kept.len() {
            let has_room = ring.kept.len() < self.max_tables && ring.bytes + bytes <= self.max_bytes;
            let Some(kept) = (if has_room { None } else { ring.kept.pop_front() }) else { break };
            if kept.slot.used.swap(false, Ordering::Relaxed) {
                ring.kept.push_back(kept);
                continue;
            }
            ring.bytes -= kept.bytes;
            evicted.extend(kept.slot.file.write().unwrap_or_else(PoisonError::into_inner).take());
        }
        evicted
    }

    /// A table is not read any more.
    pub(super) fn forget(&self, table: TableId) {
        let mut ring = self.ring();
        ring.kept.retain(|kept| kept.slot.of != table);
        ring.bytes = ring.kept.iter().map(|kept| kept.bytes).sum();
    }

    #[cfg(test)]
    pub(super) fn max_tables(&self) -> usize {
        self.max_tables
    }

    /// How many table files are open, and what they take.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        let ring = self.ring();
        assert_eq!(ring.bytes, ring.kept.iter().map(|kept| kept.bytes).sum::<usize>());
        for (n, kept) in ring.kept.iter().enumerate() {
            let is_same = |other: &Kept| Arc::ptr_eq(&other.slot, &kept.slot);
            assert!(!ring.kept.iter().skip(n + 1).any(is_same), "a slot that is kept twice");
        }
        (ring.kept.len(), ring.bytes)
    }
}
