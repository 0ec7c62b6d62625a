//! The thread that makes one run of several, so that reads have few to look into and what was overwritten goes.
//!
//! Runs of about the same size are merged, four at a time: a pair is written anew each time the run that it is in grows
//! fourfold, however large the state is. A merge takes as long as it takes; nobody waits for it, because flushes and
//! reads go on beside it. If much is flushed meanwhile, that is merged from within it: a merge looks every few pairs whether
//! many newer runs have come, and merges those first. Many, as a merge that gave way to every few would never come to its end while
//! the writing goes on.

use std::sync::Arc;
use std::time::Duration;

use openraft::RaftTypeConfig;

use super::change::Change;
use super::version::changes_in;
use super::table::StateRun;
use super::tree::Store;
use crate::error::StorageError;

/// So many runs of one size class become one.
const FANOUT: usize = 4;
/// The upper end of the smallest size class; the next end at 4, 16, … times this.
const SMALLEST_CLASS_BYTES: u64 = 64 * 1024;
/// Whether a merge is still wanted, and whether there is a smaller one to be done first, is asked after so many pairs.
const PAIRS_BETWEEN_LOOKS: u64 = 32;
/// So many merges are under way at most, each but the first within another: each has a table in memory.
const MAX_NESTED_MERGES: usize = 3;
/// A merge gives way to another if so many runs are newer than its own: few enough to be read, and far from those with
/// which flushes wait.
const MANY_RUNS: usize = 16;
/// How long obsolete runs that somebody still reads are left alone.
const OBSOLETE_INTERVAL: Duration = Duration::from_millis(200);

/// Works until the store is stopped, or a fault is latched.
pub(crate) fn run<C: RaftTypeConfig>(store: &Store<C>) {
    while let Some(merge) = next(store) {
        // The fault has been latched, which is how everybody learns of it.
        if merge.run(store, MAX_NESTED_MERGES).is_err() {
            break;
        }
    }
    store.remove_obsolete();
}

/// Waits for a merge that is worth it.
fn next<C: RaftTypeConfig>(store: &Store<C>) -> Option<Merge> {
    loop {
        store.remove_obsolete();
        let work = store.work();
        store.disk.health.check().ok()?;
        if work.stop || work.flush_ended {
            return None;
        }
        if let Some(merge) = Merge::find(store) {
            return Some(merge);
        }
        // Some may have become so since they were removed.
        if !work.obsolete.is_empty() {
            drop(store.wait_for(work, OBSOLETE_INTERVAL));
        } else {
            drop(store.wait(work));
        }
    }
}

/// Several runs that are to become one.
///
/// Invariant: `runs` are neighbours, the newest first, and only a merge makes them something else. Runs that are newer come
/// and are merged while this one is under way.
struct Merge {
    runs: Vec<Arc<StateRun>>,
    /// There are no runs that are older.
    is_oldest: bool,
    /// Of the state that they are of.
    epoch: u64,
}

impl Merge {
    /// One that is worth it. To be called while the store's work is locked.
    fn find<C: RaftTypeConfig>(store: &Store<C>) -> Option<Self> {
        let runs = &store.layers().runs;
        Self::among(store, runs, runs.len())
    }

    /// One of runs that are newer than these, if there are many. To be called while the store's work is locked.
    fn find_newer<C: RaftTypeConfig>(&self, store: &Store<C>) -> Option<Self> {
        let runs = &store.layers().runs;
        let first = self.runs.first()?.record.number;
        let newer = runs.iter().position(|run| run.record.number == first)?;
        if newer >= MANY_RUNS { Self::among(store, runs, newer) } else { None }
    }

    /// One that is worth it, among the `newest` runs of all.
    fn among<C: RaftTypeConfig>(store: &Store<C>, all: &[Arc<StateRun>], newest: usize) -> Option<Self> {
        let sizes: Vec<u64> = all.iter().take(newest).map(|run| run.record.bytes).collect();
        let range = pick(&sizes)?;
        let is_oldest = range.end == all.len();
        Some(Self { runs: all.get(range)?.to_vec(), is_oldest, epoch: store.epoch() })
    }

    /// Does it, and up to `max_nested` less one within another meanwhile.
    fn run<C: RaftTypeConfig>(&self, store: &Store<C>, max_nested: usize) -> Result<(), StorageError> {
        let mut merged = store.new_run(&store.disk)?;
        let mut changes = changes_in(&self.runs, &store.operator());
        let mut pairs = 0_u64;
        while let Some((key, change)) = changes.next_change()? {
            match change {
                change if !self.is_oldest => merged.push(&key, &change)?,
                // There is nothing older that a deletion could hide, or something could be merged into.
                Change::Delete => {}
                Change::Put(value) | Change::Merge(value) => merged.push(&key, &Change::Put(value))?,
            }
            pairs = pairs.saturating_add(1);
            if pairs.is_multiple_of(PAIRS_BETWEEN_LOOKS) && !self.look(store, max_nested.saturating_sub(1))? {
                return Ok(());
            }
        }
        let merged = if merged.is_empty() { None } else { Some(merged.finish()?) };
        store.commit_merge(&self.runs, merged, self.epoch)
    }

    /// Whether it is still wanted. If many newer runs have come, some are merged first.
    fn look<C: RaftTypeConfig>(&self, store: &Store<C>, max_nested: usize) -> Result<bool, StorageError> {
        let work = store.work();
        if work.stop || store.epoch() != self.epoch {
            return Ok(false);
        }
        let newer = if max_nested > 0 { self.find_newer(store) } else { None };
        drop(work);
        if let Some(newer) = newer {
            newer.run(store, max_nested)?;
            drop(newer);
            store.remove_obsolete();
        }
        Ok(true)
    }
}

/// The size class of a run.
fn class(bytes: u64) -> u32 {
    bytes.div_ceil(SMALLEST_CLASS_BYTES).max(1).next_power_of_two().ilog2().div_ceil(FANOUT.ilog2())
}

/// The runs to merge, of those with these sizes, the newest first. A run counts as no smaller than those newer than it:
/// only neighbours can be merged.
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
        let end = at.saturating_add(1);
        if end.saturating_sub(start) >= FANOUT {
            chosen = Some(start..end);
            // The whole class, but not the next: small merges come first.
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
    fn four_runs_of_a_size_are_merged_and_larger_ones_left_alone() {
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&[20 * MIB; 3]), None);
        assert_eq!(pick(&[20 * MIB; 5]), Some(0..5));
        assert_eq!(pick(&[MIB, 20 * MIB, 20 * MIB, 20 * MIB, 20 * MIB, 900 * MIB]), Some(1..5));
        assert_eq!(pick(&[MIB, MIB, MIB, MIB, 90 * MIB, 90 * MIB, 90 * MIB, 90 * MIB]), Some(0..4));
    }

    #[test]
    fn an_older_run_that_is_smaller_is_merged_with_those_before_it() {
        assert_eq!(pick(&[20 * MIB, 20 * MIB, 20 * MIB, 10]), Some(0..4));
        assert_eq!(pick(&[MIB, 90 * MIB, 10, 10, 10, 900 * MIB]), Some(1..5));
    }

    /// Whatever the size of a flush: its pairs are rewritten a few times, and runs stay few.
    #[test]
    fn a_pair_is_rewritten_once_per_fourfold_growth() {
        for flush in [10_000, MIB, 23 * MIB, 40 * MIB] {
            let (mut runs, mut written, flushes) = (Vec::new(), 0, 1024);
            for _ in 0..flushes {
                runs.insert(0, flush);
                while let Some(range) = pick(&runs) {
                    let merged: u64 = runs[range.clone()].iter().sum();
                    written += merged;
                    runs.splice(range, [merged]);
                }
                assert!(runs.len() <= 24, "{runs:?}");
            }
            // log4(1024) = 5
            assert!(written <= 6 * flushes * flush, "{flush}: {} times", written / (flushes * flush));
        }
    }
}
