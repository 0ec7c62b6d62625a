//! The thread that writes sealed memtables to disk, each as a table, and then gives back their
//! memory.

use std::sync::Arc;
use std::time::Duration;

use super::manifest::Frontier;
use super::memtable::Memtable;
use super::tree::{LsmTree, MAX_TABLES};
use super::version::changes_of;
use crate::error::StorageError;

/// After so many written pairs the thread looks for retired memtables that have no reader any more,
const PAIRS_BETWEEN_LOOKS: usize = 1024;
/// or, if there is nothing to be written, after so long.
const RETIRED_INTERVAL: Duration = Duration::from_millis(50);

/// Works until the tree is stopped and nothing is sealed any more, or a fault is latched.
pub(crate) fn run(tree: &LsmTree) {
    while let Some((memtable, frontier, epoch)) = next(tree) {
        // The fault has been latched: everything else learns of it there.
        if flush(tree, &memtable, frontier, epoch).is_err() {
            break;
        }
    }
}

/// The oldest sealed memtable, and the epoch that it is of. Meanwhile gives back the memory of
/// those that were written.
fn next(tree: &LsmTree) -> Option<(Arc<Memtable>, Frontier, u64)> {
    let mut work = tree.work.lock();
    loop {
        drop(work);
        tree.free_unread();
        work = tree.work.lock();
        tree.disk.health.check().ok()?;
        let is_room = work.stop || tree.version().tables.len() < MAX_TABLES;
        match work.sealed.first() {
            Some((memtable, frontier)) if is_room => {
                return Some((memtable.clone(), frontier.clone(), tree.epoch()));
            }
            None if work.stop => return None,
            _ if work.retired.is_empty() => work = tree.work.wait(work),
            _ => work = tree.work.wait_for(work, RETIRED_INTERVAL),
        }
    }
}

fn flush(
    tree: &LsmTree,
    memtable: &Arc<Memtable>,
    frontier: Frontier,
    epoch: u64,
) -> Result<(), StorageError> {
    if memtable.is_empty() {
        return tree.commit_flush(memtable, frontier, None, epoch);
    }
    tree.check_memtable(memtable)?;
    let mut table = tree.new_table(&tree.disk)?;
    let changes = changes_of(memtable, &tree.operator()).enumerate();
    for (pairs, change) in changes {
        let (key, change) = change?;
        table.push(&key, &change)?;
        if (pairs + 1).is_multiple_of(PAIRS_BETWEEN_LOOKS) {
            tree.free_unread();
        }
    }
    tree.commit_flush(memtable, frontier, Some(table.finish()?), epoch)
}
