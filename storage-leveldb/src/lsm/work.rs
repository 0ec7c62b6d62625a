//! What the flush thread and the compaction thread have to do.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::manifest::Frontier;
use super::memtable::Memtable;
use super::table::StateTable;
use super::version::Checkpoint;
use crate::owned_thread::OwnedThread;

/// A request for the checkpoint at which a sealed memtable is durable.
struct Waiter {
    memtable: u64,
    checkpoint: oneshot::Sender<Checkpoint>,
}

/// What both threads are told, and what they tell.
#[derive(Default)]
pub(crate) struct Work {
    /// The sealed memtables and their frontiers, the oldest first.
    pub(crate) sealed: Vec<(Arc<Memtable>, Frontier)>,
    waiters: Vec<Waiter>,
    /// Memtables that are no part of the tree any more and may still be read. Dropping the last
    /// handle gives back the memory pair by pair, which takes tens of milliseconds: the flush
    /// thread does it.
    pub(crate) retired: Vec<Arc<Memtable>>,
    /// Tables that are no part of the tree any more and may still be read.
    pub(crate) obsolete: Vec<Arc<StateTable>>,
    /// Threads that make tables which nothing waits for any more, and will soon end.
    pub(crate) ending: Vec<OwnedThread>,
    /// Finish what is sealed, and end.
    pub(crate) stop: bool,
    /// The flush thread has ended: nothing becomes durable any more.
    pub(crate) flush_ended: bool,
}

impl Work {
    /// The retired memtables that have no reader any more.
    pub(crate) fn take_unread(&mut self) -> Vec<Arc<Memtable>> {
        // Only a reader that has one can make another handle of it.
        self.retired.extract_if(.., |memtable| Arc::strong_count(memtable) == 1).collect()
    }

    /// The obsolete tables that have no reader any more.
    pub(crate) fn take_unused(&mut self) -> Vec<Arc<StateTable>> {
        self.obsolete.extract_if(.., |table| Arc::strong_count(table) == 1).collect()
    }

    /// The checkpoint is wanted once the sealed memtable with this number is durable.
    pub(crate) fn wait_for(&mut self, memtable: u64, checkpoint: oneshot::Sender<Checkpoint>) {
        self.waiters.push(Waiter { memtable, checkpoint });
    }

    /// Answers the waiters for memtables up to `number`.
    pub(crate) fn tell(&mut self, checkpoint: &Checkpoint, number: u64) {
        for waiter in self.waiters.extract_if(.., |waiter| waiter.memtable <= number) {
            // A waiter that has gone away takes no answer.
            drop(waiter.checkpoint.send(checkpoint.clone()));
        }
    }

    /// Nothing will be answered any more.
    pub(crate) fn end(&mut self) {
        self.flush_ended = true;
        self.waiters.clear();
    }
}
