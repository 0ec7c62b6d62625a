//! The thread that writes sealed memtables to disk, each as a run, and then gives back their memory.

use std::sync::Arc;
use std::time::Duration;

use openraft::RaftTypeConfig;

use super::version::changes_of;
use super::memtable::Memtable;
use crate::raft::position::Position;
use super::tree::{MAX_RUNS, Store};
use crate::error::StorageError;

/// Whether retired memtables are still read is looked at after so many pairs that were written,
const PAIRS_BETWEEN_LOOKS: u64 = 1024;
/// or, if there is nothing to be written, after so long.
const RETIRED_INTERVAL: Duration = Duration::from_millis(50);

/// Works until the store is stopped and nothing is sealed any more, or a fault is latched.
pub(crate) fn run<C: RaftTypeConfig>(store: &Store<C>) {
    while let Some((memtable, position, epoch)) = next(store) {
        // The fault has been latched, which is how everybody learns of it.
        if flush(store, &memtable, &position, epoch).is_err() {
            break;
        }
    }
}

/// The oldest sealed memtable, and the epoch that it is of. Meanwhile gives back the memory of those that were written.
fn next<C: RaftTypeConfig>(store: &Store<C>) -> Option<(Arc<Memtable>, Position<C>, u64)> {
    let mut work = store.work();
    loop {
        drop(work);
        store.free_unread();
        work = store.work();
        store.disk.health.check().ok()?;
        let is_room = work.stop || store.layers().runs.len() < MAX_RUNS;
        match work.sealed.first() {
            Some((memtable, position)) if is_room => {
                return Some((memtable.clone(), position.clone(), store.epoch()));
            }
            None if work.stop => return None,
            _ if work.retired.is_empty() => work = store.wait(work),
            _ => work = store.wait_for(work, RETIRED_INTERVAL),
        }
    }
}

fn flush<C: RaftTypeConfig>(
    store: &Store<C>,
    memtable: &Arc<Memtable>,
    position: &Position<C>,
    epoch: u64,
) -> Result<(), StorageError> {
    if memtable.is_empty() {
        return store.commit_flush(memtable, position, None, epoch);
    }
    let mut run = store.new_run(&store.disk)?;
    let mut changes = changes_of(memtable, &store.operator());
    let mut pairs = 0_u64;
    while let Some((key, change)) = changes.next_change()? {
        run.push(&key, &change)?;
        pairs = pairs.saturating_add(1);
        if pairs.is_multiple_of(PAIRS_BETWEEN_LOOKS) {
            store.free_unread();
        }
    }
    store.commit_flush(memtable, position, Some(run.finish()?), epoch)
}
