//! The thread that makes one table of several, so that reads have few to look into and what was
//! overwritten goes.
//!
//! Tables of about the same size are compacted, four at a time: a pair is written anew each time
//! the table that it is in grows fourfold, however large the tree is. A compaction takes as long as
//! it takes, while flushes and reads go on beside it. If much is flushed meanwhile, that is
//! compacted from within it: a compaction looks every few pairs whether many newer tables have
//! come, and does those first. It gives way to many only: one that gave way to every few would
//! never come to its end while the writing goes on.

use std::sync::Arc;
use std::time::Duration;

use super::change::Change;
use super::table::StateTable;
use super::tree::LsmTree;
use super::version::changes_in;
use crate::error::StorageError;

/// So many tables of one size class become one.
const FANOUT: usize = 4;
/// The upper end of the smallest size class; the next end at 4, 16, … times this.
const SMALLEST_CLASS_BYTES: u64 = 64 * 1024;
/// Whether a compaction is still wanted, and whether a smaller one is to be done first, is asked
/// after so many pairs.
const PAIRS_BETWEEN_LOOKS: usize = 32;
/// So many compactions are under way at most, each but the first within another: each has a table
/// in memory.
const MAX_NESTED_COMPACTIONS: usize = 3;
/// A compaction gives way to another if so many tables are newer than its own: few enough to be
/// read, and far from those with which flushes wait.
const MANY_TABLES: usize = 16;
/// After so long the thread looks again whether obsolete tables are still read.
const OBSOLETE_INTERVAL: Duration = Duration::from_millis(200);

/// Works until the tree is stopped, or a fault is latched.
pub(crate) fn run(tree: &LsmTree) {
    while let Some(compaction) = next(tree) {
        // The fault has been latched: everything else learns of it there.
        if compaction.run(tree, MAX_NESTED_COMPACTIONS).is_err() {
            break;
        }
    }
    tree.remove_obsolete();
}

/// Waits for a compaction that is worth it.
fn next(tree: &LsmTree) -> Option<Compaction> {
    loop {
        tree.remove_obsolete();
        let work = tree.work.lock();
        tree.disk.health.check().ok()?;
        if work.stop || work.flush_ended {
            return None;
        }
        if let Some(compaction) = Compaction::find(tree) {
            return Some(compaction);
        }
        // Some may have become so since they were removed.
        if !work.obsolete.is_empty() {
            drop(tree.work.wait_for(work, OBSOLETE_INTERVAL));
        } else {
            drop(tree.work.wait(work));
        }
    }
}

/// Several tables that are to become one.
///
/// Invariant: `inputs` are neighbours, the newest first, and only a compaction makes them something
/// else (asserted when it is committed). Newer tables come and are compacted while this one is
/// under way.
struct Compaction {
    inputs: Vec<Arc<StateTable>>,
    /// There are no tables that are older.
    is_oldest: bool,
    /// Of the tree that they are of.
    epoch: u64,
}

impl Compaction {
    /// One that is worth it. To be called while the tree's work is locked.
    fn find(tree: &LsmTree) -> Option<Self> {
        let tables = &tree.version().tables;
        Self::among(tree, tables, tables.len())
    }

    /// One of tables that are newer than these, if there are many. To be called while the tree's
    /// work is locked.
    fn find_newer(&self, tree: &LsmTree) -> Option<Self> {
        let tables = &tree.version().tables;
        let first = self.inputs.first()?.record.number;
        let newer = tables.iter().position(|table| table.record.number == first)?;
        if newer >= MANY_TABLES { Self::among(tree, tables, newer) } else { None }
    }

    /// One that is worth it, among the `newest` tables of all.
    fn among(tree: &LsmTree, all: &[Arc<StateTable>], newest: usize) -> Option<Self> {
        let sizes: Vec<u64> = all.iter().take(newest).map(|table| table.record.bytes).collect();
        let range = pick(&sizes)?;
        let is_oldest = range.end == all.len();
        Some(Self { inputs: all.get(range)?.to_vec(), is_oldest, epoch: tree.epoch() })
    }

    /// Does it, and up to `max_nested` less one within another meanwhile.
    fn run(&self, tree: &LsmTree, max_nested: usize) -> Result<(), StorageError> {
        let mut output = tree.new_table(&tree.disk)?;
        let changes = changes_in(&self.inputs, &tree.operator()).enumerate();
        for (pairs, change) in changes {
            match change? {
                (key, change) if !self.is_oldest => output.push(&key, &change)?,
                // There is nothing older that a deletion could hide, or something could be merged
                // into.
                (_, Change::Delete) => {}
                (key, Change::Put(value) | Change::Merge(value)) => output.push(&key, &Change::Put(value))?,
            }
            if (pairs + 1).is_multiple_of(PAIRS_BETWEEN_LOOKS) && !self.look(tree, max_nested - 1)? {
                return Ok(());
            }
        }
        let output = if output.is_empty() { None } else { Some(output.finish()?) };
        tree.commit_compaction(&self.inputs, output, self.epoch)
    }

    /// Whether it is still wanted. If many newer tables have come, some are compacted first.
    fn look(&self, tree: &LsmTree, max_nested: usize) -> Result<bool, StorageError> {
        let work = tree.work.lock();
        if work.stop || tree.epoch() != self.epoch {
            return Ok(false);
        }
        let newer = if max_nested > 0 { self.find_newer(tree) } else { None };
        drop(work);
        if let Some(newer) = newer {
            newer.run(tree, max_nested)?;
            drop(newer);
            tree.remove_obsolete();
        }
        Ok(true)
    }
}

/// The size class of a table.
fn class(bytes: u64) -> u32 {
    bytes.div_ceil(SMALLEST_CLASS_BYTES).max(1).next_power_of_two().ilog2().div_ceil(FANOUT.ilog2())
}

/// The tables to compact, of those with these sizes, the newest first. A table counts as no smaller
/// than those newer than it: only neighbours can be compacted.
fn pick(sizes: &[u64]) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    let mut class_before = None;
    let mut chosen = None;
    for (at, bytes) in sizes.iter().enumerate() {
        let class = class_before.unwrap_or(0).max(class(*bytes));
        if class_before != Some(class) {
            start = at;
            class_before = Some(class);
        }
        let end = at + 1;
        if end - start >= FANOUT {
            chosen = Some(start..end);
            // The whole class, but not the next: small compactions come first.
            if sizes.get(end).is_none_or(|next| self::class(*next) > class) {
                break;
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn four_tables_of_a_size_are_compacted_and_larger_ones_left_alone() {
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&[20 * MIB; 3]), None);
        assert_eq!(pick(&[20 * MIB; 5]), Some(0..5));
        assert_eq!(pick(&[MIB, 20 * MIB, 20 * MIB, 20 * MIB, 20 * MIB, 900 * MIB]), Some(1..5));
        assert_eq!(pick(&[MIB, MIB, MIB, MIB, 90 * MIB, 90 * MIB, 90 * MIB, 90 * MIB]), Some(0..4));
    }

    #[test]
    fn an_older_table_that_is_smaller_is_compacted_with_those_before_it() {
        assert_eq!(pick(&[20 * MIB, 20 * MIB, 20 * MIB, 10]), Some(0..4));
        assert_eq!(pick(&[MIB, 90 * MIB, 10, 10, 10, 900 * MIB]), Some(1..5));
    }

    /// Whatever the size of a flush: its pairs are rewritten a few times, and tables stay few.
    #[test]
    fn a_pair_is_rewritten_once_per_fourfold_growth() {
        for flush in [10_000, MIB, 23 * MIB, 40 * MIB] {
            let (mut tables, mut written, flushes) = (Vec::new(), 0, 1024);
            for _ in 0..flushes {
                tables.insert(0, flush);
                while let Some(range) = pick(&tables) {
                    let merged: u64 = tables[range.clone()].iter().sum();
                    written += merged;
                    tables.splice(range, [merged]);
                }
                assert!(tables.len() <= 24, "{tables:?}");
            }
            // log4(1024) = 5
            assert!(written <= 6 * flushes * flush, "{flush}: {} times", written / (flushes * flush));
        }
    }
}
