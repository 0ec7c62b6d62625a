//! What the threads that write the state to disk have to do.

use std::sync::Arc;

use openraft::RaftTypeConfig;
use tokio::sync::oneshot;

use crate::raft::snapshot_source::Durable;
use super::memtable::Memtable;
use crate::raft::position::Position;
use super::table::StateRun;

/// Somebody who wants the state as it was when a memtable was sealed, once it is durable.
struct Waiter<C: RaftTypeConfig> {
    memtable: u64,
    durable: oneshot::Sender<Durable<C>>,
}

/// What the flush and the merge thread are told, and what they tell.
pub(crate) struct Work<C: RaftTypeConfig> {
    /// Positions of the sealed memtables, the oldest first.
    pub(crate) sealed: Vec<(Arc<Memtable>, Position<C>)>,
    waiters: Vec<Waiter<C>>,
    /// Memtables that are no part of the state any more; somebody may still be reading them. Who lets go of one last gives
    /// back its memory, pair by pair, which takes tens of milliseconds: that is to be nobody who is waited for.
    pub(crate) retired: Vec<Arc<Memtable>>,
    /// Runs, the same.
    pub(crate) obsolete: Vec<Arc<StateRun>>,
    /// Finish what is sealed, and end.
    pub(crate) stop: bool,
    /// The flush thread has ended: nothing gets durable any more.
    pub(crate) flush_ended: bool,
}

impl<C: RaftTypeConfig> Work<C> {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self {
            sealed: Vec::new(),
            waiters: Vec::new(),
            retired: Vec::new(),
            obsolete: Vec::new(),
            stop: false,
            flush_ended: false,
        }
    }

    /// The retired memtables that nobody reads any more.
    pub(crate) fn take_unread(&mut self) -> Vec<Arc<Memtable>> {
        // Only readers that have it can make another handle of it.
        let is_unread = |memtable: &mut Arc<Memtable>| Arc::strong_count(memtable) == 1;
        self.retired.extract_if(.., is_unread).collect()
    }

    /// Somebody waits for a sealed memtable.
    pub(crate) fn wait_for(&mut self, memtable: u64, durable: oneshot::Sender<Durable<C>>) {
        self.waiters.push(Waiter { memtable, durable });
    }

    /// Tells those who wait for memtables up to `number`.
    pub(crate) fn tell(&mut self, durable: &Durable<C>, number: u64) {
        let (served, waiting) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition::<Vec<_>, _>(|waiter| waiter.memtable <= number);
        self.waiters = waiting;
        for waiter in served {
            // Whoever asked may have gone away.
            drop(waiter.durable.send(durable.clone()));
        }
    }

    /// Nobody will be told anything any more.
    pub(crate) fn end(&mut self) {
        self.flush_ended = true;
        self.waiters.clear();
    }
}
