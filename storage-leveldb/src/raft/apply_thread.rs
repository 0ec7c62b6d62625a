//! The thread that applies.

use std::sync::Arc;
use std::time::Instant;

use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf};
use openraft::{EntryPayload, RaftTypeConfig};
use tokio::sync::{mpsc, oneshot};

use super::application::{Application, StandardTypes};
use super::position::Position;
use super::snapshot::SnapshotError;
use super::snapshot_receiver::Received;
use crate::error::StorageError;
use crate::lsm::transaction::Transaction;
use crate::lsm::tree::LsmTree;
use crate::lsm::user_code::of_application;
use crate::lsm::version::Checkpoint;
use crate::lsm::{compaction, flush};
use crate::owned_thread::{OwnedThread, latching};

/// An apply batch is complete when its changes reach this much.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

pub(crate) type Reply<T, E = StorageError> = oneshot::Sender<Result<T, E>>;
/// Answers nothing if the disk fails before.
pub(crate) type WhenDurable = oneshot::Receiver<Checkpoint>;

/// One request, served in order.
pub(crate) enum Command<C: RaftTypeConfig> {
    /// Apply committed entries, and answer their responders.
    Apply { entries: Vec<EntryResponder<C>>, done: Reply<()> },
    /// How far is the state machine?
    Position { done: Reply<Position<C>> },
    /// Begin to make durable what is applied.
    MakeDurable { done: Reply<WhenDurable> },
    /// Go on with the state of a snapshot.
    Install { received: Received, meta: SnapshotMetaOf<C>, done: Reply<(), SnapshotError> },
}

/// Invariants: the tree holds exactly the effects of the entries up to `position`; `sealed` is the
/// last of those that no memtable will get.
pub(crate) struct ApplyThread<C: StandardTypes, A> {
    application: Arc<A>,
    tree: Arc<LsmTree>,
    position: Position<C>,
    sealed: Option<LogIdOf<C>>,
    workers: Vec<OwnedThread>,
}

impl<C: StandardTypes, A: Application<C>> ApplyThread<C, A> {
    /// Starts the threads that write to disk.
    pub(crate) fn start(application: Arc<A>, tree: Arc<LsmTree>) -> Result<Self, StorageError> {
        let position = Position::durable(&tree)?;
        let sealed = position.applied.clone();
        let mut this = Self { application, tree, position, sealed, workers: Vec::new() };
        this.start_worker("state-flush", flush::run)?;
        this.start_worker("state-compaction", compaction::run)?;
        Ok(this)
    }

    fn start_worker(&mut self, name: &str, work: fn(&LsmTree)) -> Result<(), StorageError> {
        let tree = self.tree.clone();
        let body = move || {
            latching(&tree.disk, tree.dir(), || work(&tree));
            // Also after a panic: no thread may wait for this one for ever.
            tree.worker_has_ended();
        };
        self.workers.push(OwnedThread::start(name, body)?);
        Ok(())
    }

    /// Serves until every sender is gone. Then everything applied is made durable.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Command<C>>) {
        while let Some(command) = queue.blocking_recv() {
            // The one that asked may have gone away; then the answer is dropped.
            match command {
                Command::Apply { entries, done } => drop(done.send(self.apply(entries))),
                Command::Position { done } => drop(done.send(Ok(self.position.clone()))),
                Command::MakeDurable { done } => drop(done.send(self.make_durable())),
                Command::Install { received, meta, done } => {
                    drop(done.send(self.install(received, meta)));
                }
            }
        }
    }

    fn apply(&mut self, entries: Vec<EntryResponder<C>>) -> Result<(), StorageError> {
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            self.apply_batch(&mut entries)?;
        }
        Ok(())
    }

    /// Applies entries until their changes fill a batch, and only then answers.
    fn apply_batch(
        &mut self,
        entries: &mut impl Iterator<Item = EntryResponder<C>>,
    ) -> Result<(), StorageError> {
        let started = Instant::now();
        let mut position = self.position.clone();
        let mut entries_applied = 0;
        let mut answers: Vec<(ApplyResponder<C>, C::R)> = Vec::new();
        let mut transaction = Transaction::new(self.tree.pin());
        while transaction.bytes() < MAX_BATCH_BYTES {
            let Some((entry, responder)) = entries.next() else {
                break;
            };
            let log_id = entry.log_id();
            let response = match &entry.payload {
                EntryPayload::Blank => C::R::default(),
                EntryPayload::Normal(command) => {
                    let application = &self.application;
                    let call = || application.apply(&mut transaction, log_id.index, command);
                    let (disk, dir) = (&self.tree.disk, self.tree.dir());
                    of_application(disk, dir, format_args!("applying entry {log_id}"), call)?
                }
                EntryPayload::Membership(membership) => {
                    position.membership =
                        StoredMembershipOf::<C>::new(Some(log_id.clone()), membership.clone());
                    C::R::default()
                }
            };
            position.applied = Some(log_id);
            entries_applied += 1;
            answers.extend(responder.map(|responder| (responder, response)));
        }
        debug_assert!(position.applied >= self.position.applied, "entries are applied in order");
        self.tree.disk.health.check()?;
        let is_room = self.tree.apply(transaction.into_changes(), position.applied_index())?;
        self.position = position;
        self.tree.disk.observer().applied(entries_applied, started.elapsed());
        answers.into_iter().for_each(|(responder, response)| responder.send(response));
        if is_room { Ok(()) } else { self.seal() }
    }

    fn seal(&mut self) -> Result<(), StorageError> {
        self.tree.seal(self.position.to_frontier(&self.tree)?)?;
        self.sealed = self.position.applied.clone();
        Ok(())
    }

    /// Everything applied goes to disk now; the answer tells when it is there.
    fn make_durable(&mut self) -> Result<WhenDurable, StorageError> {
        if self.sealed != self.position.applied {
            self.seal()?;
        }
        Ok(self.tree.when_durable())
    }

    /// Nothing is applied meanwhile, and queries see the state before or after.
    fn install(&mut self, received: Received, meta: SnapshotMetaOf<C>) -> Result<(), SnapshotError> {
        let (table, position) = received.into_table::<C>(meta)?;
        self.tree.install(table, position.to_frontier(&self.tree)?)?;
        self.sealed = position.applied.clone();
        self.position = position;
        Ok(())
    }
}

impl<C: StandardTypes, A> Drop for ApplyThread<C, A> {
    fn drop(&mut self) {
        if self.sealed != self.position.applied && !std::thread::panicking() {
            // Fails only after a fault, and then nothing may be written any more.
            let _ = self.position.to_frontier(&self.tree).map(|frontier| self.tree.seal(frontier));
        }
        self.tree.stop();
    }
}
