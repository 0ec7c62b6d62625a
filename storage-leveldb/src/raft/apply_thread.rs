//! The thread that applies.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder};
use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};
use tokio::sync::mpsc::Receiver;

use super::application::{Application, StandardTypes};
use crate::lsm::user_code::of_application;
use super::command::{Command, WhenDurable};
use super::position::Position;
use super::snapshot_receiver::Received;
use crate::lsm::tree::Store;
use crate::lsm::transaction::Transaction;
use crate::lsm::{flush, compaction};
use crate::error::StorageError;
use crate::owner_thread::latching;

/// An apply batch is complete when its changes reach this much.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Invariants: the store's memtables and runs hold exactly the effects of the entries up to `position`; `sealed` is
/// the last of those that no memtable will get.
pub(crate) struct Owner<C: StandardTypes, A> {
    application: Arc<A>,
    store: Arc<Store<C>>,
    position: Position<C>,
    sealed: Option<LogIdOf<C>>,
    workers: Vec<JoinHandle<()>>,
}

impl<C: StandardTypes, A: Application<C>> Owner<C, A> {
    /// Starts the threads that write to disk.
    pub(crate) fn start(application: Arc<A>, store: Arc<Store<C>>) -> Result<Self, StorageError> {
        let position = store.durable().position;
        let sealed = position.applied.clone();
        let mut this = Self { application, store, position, sealed, workers: Vec::new() };
        this.start_worker("state-flush", |store| {
            flush::run(store);
        })?;
        this.start_worker("state-merge", |store| compaction::run(store))?;
        Ok(this)
    }

    fn start_worker(&mut self, name: &str, work: fn(&Store<C>)) -> Result<(), StorageError> {
        let store = self.store.clone();
        let body = move || {
            latching(&store.disk, store.dir(), || work(&store));
            // Also after a panic: nobody may wait for this thread for ever.
            store.worker_has_ended();
        };
        let worker = thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| {
            tracing::error!(error = %e, name, "cannot start a storage thread");
            StorageError::Closed
        })?;
        self.workers.push(worker);
        Ok(())
    }

    /// Serves until every sender is gone. Then everything applied is made durable.
    pub(crate) fn run(mut self, mut queue: Receiver<Command<C>>) {
        while let Some(command) = queue.blocking_recv() {
            // Whoever asked may have gone away: an answer that nobody takes is dropped.
            match command {
                Command::Apply { entries, done } => drop(done.send(self.apply(entries))),
                Command::Position { done } => drop(done.send(Ok(self.position.clone()))),
                Command::MakeDurable { done } => drop(done.send(self.make_durable())),
                Command::Install { received, meta, done } => {
                    drop(done.send(self.install(received, &meta)));
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
        let mut transaction = Transaction::new(self.store.pin());
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
                    let (disk, dir) = (&self.store.disk, self.store.dir());
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
        self.store.disk.health.check()?;
        let is_room = self.store.apply(transaction.into_changes(), position.applied_index())?;
        self.position = position;
        self.store.disk.observer().applied(entries_applied, started.elapsed());
        answers.into_iter().for_each(|(responder, response)| responder.send(response));
        if is_room { Ok(()) } else { self.seal() }
    }

    fn seal(&mut self) -> Result<(), StorageError> {
        self.store.seal(self.position.clone())?;
        self.sealed = self.position.applied.clone();
        Ok(())
    }

    /// Everything applied goes to disk now; the answer tells when it is there.
    fn make_durable(&mut self) -> Result<WhenDurable<C>, StorageError> {
        if self.sealed != self.position.applied {
            self.seal()?;
        }
        Ok(self.store.when_durable())
    }

    /// Nothing is applied meanwhile, and queries see the state before or after.
    fn install(
        &mut self,
        received: Received,
        meta: &openraft::type_config::alias::SnapshotMetaOf<C>,
    ) -> Result<(), super::snapshot::SnapshotError> {
        let (run, position) = received.into_run::<C>(meta)?;
        self.store.install(run, position.clone())?;
        self.sealed = position.applied.clone();
        self.position = position;
        Ok(())
    }
}

impl<C: StandardTypes, A> Drop for Owner<C, A> {
    fn drop(&mut self) {
        if self.sealed != self.position.applied && !thread::panicking() {
            // Fails only after a fault, and then nothing may be written any more.
            let _ = self.store.seal(self.position.clone());
        }
        self.store.stop();
        for worker in self.workers.drain(..) {
            // A panic of the thread has been latched.
            let _ = worker.join();
        }
    }
}
