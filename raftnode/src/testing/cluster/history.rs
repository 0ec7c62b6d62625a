//! What the nodes have applied, and what clients were told: written down while a cluster runs.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use storage_leveldb::{StorageError, Transaction};

use crate::application::{At, ClusterTime, Effects, Host, RequestId};
use crate::raft::NodeId;

/// Which of the things that clients did, in the order in which they began and ended.
pub(super) type Moment = u64;

/// A command as it was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) at: At,
    pub(super) command: Bytes,
    pub(super) response: Bytes,
}

/// A write of a client.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) id: RequestId,
    pub(super) node: NodeId,
    pub(super) begun: Moment,
    pub(super) end: Option<(Moment, WriteEnd)>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WriteEnd {
    /// With this response.
    Acknowledged(Bytes),
    NotApplied,
    Unknown,
}

/// A linearizable read that was answered.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) node: NodeId,
    pub(super) query: Bytes,
    pub(super) begun: Moment,
    pub(super) ended: Moment,
    /// How many commands had been applied to what it saw.
    pub(super) position: u64,
    /// The time of what it saw.
    pub(super) time: ClusterTime,
    pub(super) answer: Bytes,
}

/// Everything that has happened.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) applied: BTreeMap<u64, Applied>,
    /// The first command that two applied differently, and how.
    pub(super) divergence: Option<(Applied, Applied)>,
    pub(super) writes: Vec<Write>,
    pub(super) reads: Vec<Read>,
    now: Moment,
}

/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Events>>);

impl Events {
    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }
}

impl History {
    pub(super) fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client begins something.
    pub(super) fn begin(&self) -> Moment {
        self.events().tick()
    }

    /// A client begins a write.
    pub(super) fn begin_write(&self, id: RequestId, node: NodeId) -> usize {
        let mut events = self.events();
        let begun = events.tick();
        events.writes.push(Write { id, node, begun, end: None });
        events.writes.len() - 1
    }

    pub(super) fn end_write(&self, write: usize, end: WriteEnd) {
        let mut events = self.events();
        let now = events.tick();
        if let Some(write) = events.writes.get_mut(write) {
            write.end = Some((now, end));
        }
    }

    /// A client was answered.
    pub(super) fn end_read(&self, read: Read) {
        let mut events = self.events();
        let ended = events.tick();
        events.reads.push(Read { ended, ..read });
    }

    fn applied(&self, new: Applied) {
        let mut events = self.events();
        match events.applied.get(&new.at.position) {
            None => drop(events.applied.insert(new.at.position, new)),
            Some(known) if *known == new => {}
            Some(known) => {
                let known = known.clone();
                events.divergence.get_or_insert((known, new));
            }
        }
    }
}

/// Does what `inner` does, and writes down what it applies.
pub(super) struct Recorded {
    pub(super) inner: Arc<dyn Host>,
    pub(super) history: History,
}

impl Host for Recorded {
    fn apply(&self, txn: Effects<'_, '_>, at: At, command: &[u8]) -> Result<Bytes, StorageError> {
        let response = self.inner.apply(txn, at, command)?;
        let command = Bytes::copy_from_slice(command);
        self.history.applied(Applied { at, command, response: response.clone() });
        Ok(response)
    }

    fn remembered(&self, response: &Bytes) -> Result<Bytes, StorageError> {
        self.inner.remembered(response)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.inner.merge(key, older, operand)
    }

    fn query(&self, view: &mut storage_leveldb::View<'_>, query: &[u8]) -> Result<Bytes, StorageError> {
        self.inner.query(view, query)
    }

    fn check_command(&self, command: &[u8]) -> Result<u32, String> {
        self.inner.check_command(command)
    }

    fn is_long(&self, query: &[u8]) -> bool {
        self.inner.is_long(query)
    }

    fn schema(&self) -> u32 {
        self.inner.schema()
    }

    fn revision(&self, view: &mut storage_leveldb::View<'_>) -> Result<Option<u64>, StorageError> {
        self.inner.revision(view)
    }

    fn restored(&self, txn: &mut Transaction<'_>, ahead: u64) -> Result<(), StorageError> {
        self.inner.restored(txn, ahead)
    }
}

/// What a query found, behind how many commands, and at which time.
pub(super) struct FoundAt {
    pub(super) position: u64,
    pub(super) time: ClusterTime,
    pub(super) answer: Result<Bytes, String>,
}

/// What came back of such a query.
pub(super) fn found_at(found: Box<dyn Any + Send>) -> FoundAt {
    debug_assert!(found.is::<FoundAt>(), "what was asked");
    let another =
        || FoundAt { position: 0, time: ClusterTime::default(), answer: Err("another type".to_owned()) };
    found.downcast().map_or_else(|_| another(), |found| *found)
}
