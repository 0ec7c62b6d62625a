//! The thread that owns the state's database.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder};
use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};
use tokio::sync::mpsc::Receiver;

use super::application::{Application, StandardTypes};
use super::cached_engine::CachedEngine;
use super::command::{Checkpoint, Command};
use super::database::{CheckpointDirectory, StateDirectory};
use super::position::Position;
use super::transaction::Transaction;
use super::view::View;
use crate::engine::{Durability, Engine, EngineFactory};
use crate::error::StorageError;
use crate::observer::Db;

/// An apply batch is written when its changes reach this much.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A write that takes longer is reported as a stall.
const STALL: Duration = Duration::from_millis(10);

/// Invariant: `position` is what the database says, and the database holds exactly the effects of the entries
/// up to it.
pub(super) struct Owner<C: StandardTypes, A> {
    application: Arc<A>,
    engine: CachedEngine,
    database: PathBuf,
    factory: Arc<dyn EngineFactory>,
    directory: StateDirectory,
    position: Position<C>,
}

impl<C: StandardTypes, A: Application<C>> Owner<C, A> {
    pub(super) fn open(
        application: Arc<A>,
        factory: Arc<dyn EngineFactory>,
        directory: StateDirectory,
        cache_bytes: usize,
    ) -> Result<Self, StorageError> {
        let database = directory.active()?;
        let mut engine = CachedEngine::new(factory.open(&database)?, cache_bytes);
        let position = load(&mut engine, &directory, &database)?;
        Ok(Self { application, engine, database, factory, directory, position })
    }

    pub(super) fn applied(&self) -> Option<LogIdOf<C>> {
        self.position.applied.clone()
    }

    /// Serves until every sender is gone.
    pub(super) fn run(mut self, mut queue: Receiver<Command<C, A>>) {
        while let Some(command) = queue.blocking_recv() {
            // Whoever asked may have gone away: an answer that nobody takes is dropped.
            match command {
                Command::Apply { entries, done } => drop(done.send(self.apply(entries))),
                Command::Query { query, done } => drop(done.send(self.query(query))),
                Command::Position { done } => drop(done.send(Ok(self.position.clone()))),
                Command::Checkpoint { directory, done } => drop(done.send(self.checkpoint(directory))),
                Command::Switch { database, done } => drop(done.send(self.switch(database))),
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

    /// Applies entries until their changes fill a batch, writes it, and only then answers.
    fn apply_batch(
        &mut self,
        entries: &mut impl Iterator<Item = EntryResponder<C>>,
    ) -> Result<(), StorageError> {
        let started = Instant::now();
        let mut position = self.position.clone();
        let mut entries_applied = 0;
        let mut membership_changed = self.position.applied.is_none();
        let mut answers: Vec<(ApplyResponder<C>, C::R)> = Vec::new();
        let mut transaction = Transaction::new(&mut self.engine);
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
                    let doing = format_args!("applying entry {log_id}");
                    of_application(&self.directory, &self.database, doing, call)?
                }
                EntryPayload::Membership(membership) => {
                    position.membership =
                        StoredMembershipOf::<C>::new(Some(log_id.clone()), membership.clone());
                    membership_changed = true;
                    C::R::default()
                }
            };
            position.applied = Some(log_id);
            entries_applied += 1;
            answers.extend(responder.map(|responder| (responder, response)));
        }
        let mut batch = transaction.into_batch();
        let put =
            if membership_changed { position.put_all(&mut batch) } else { position.put_applied(&mut batch) };
        put.map_err(|e| self.directory.disk().damaged(&self.database, e))?;
        self.write(batch)?;
        self.position = position;
        self.directory.disk().observer().applied(entries_applied, started.elapsed());
        answers.into_iter().for_each(|(responder, response)| responder.send(response));
        Ok(())
    }

    fn write(&mut self, batch: crate::engine::Batch) -> Result<(), StorageError> {
        let started = Instant::now();
        let result = self.engine.write(batch, Durability::Ordered);
        let took = started.elapsed();
        if took >= STALL {
            self.directory.disk().observer().stalled(Db::State, "write", took);
        }
        result
    }

    fn query(&mut self, query: A::Query) -> Result<A::Answer, StorageError> {
        let mut view = View::new(&mut self.engine, self.position.applied_index());
        let call = || self.application.query(&mut view, query);
        of_application(&self.directory, &self.database, format_args!("answering a query"), call)
    }

    fn checkpoint(&mut self, directory: CheckpointDirectory) -> Result<Checkpoint<C>, StorageError> {
        let started = Instant::now();
        self.engine.checkpoint(directory.path())?;
        self.directory.disk().observer().stalled(Db::State, "checkpoint", started.elapsed());
        Ok(Checkpoint { directory, position: self.position.clone() })
    }

    fn switch(&mut self, database: PathBuf) -> Result<(), StorageError> {
        self.directory.activate(&database)?;
        let mut engine = self.factory.open(&database)?;
        self.position = load(engine.as_mut(), &self.directory, &database)?;
        self.engine.replace(engine);
        let old = std::mem::replace(&mut self.database, database);
        self.directory.remove(&old)
    }
}

/// Calls the application. It cannot refuse: where it fails, by an error or a panic, what is stored is not what it
/// can go on with, so that is a fault of this database, and nothing is answered from it any more.
fn of_application<T>(
    directory: &StateDirectory,
    database: &Path,
    doing: fmt::Arguments<'_>,
    call: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let failed = |how: &str, why: &str| {
        let reason = format!("the application {how} while {doing}: {why}");
        directory.disk().damaged(database, reason).into()
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Err(StorageError::Fault(fault))) => Err(failed("failed", &fault.reason)),
        Ok(result) => {
            // An application may take an error for an empty answer.
            directory.disk().health.check()?;
            result
        }
        Err(panic) => Err(failed("panicked", crate::engine::panic_text(&*panic))),
    }
}

fn load<C: StandardTypes>(
    engine: &mut dyn Engine,
    directory: &StateDirectory,
    database: &Path,
) -> Result<Position<C>, StorageError> {
    let position = Position::load(engine)?;
    Ok(position.map_err(|reason| directory.disk().damaged(database, reason))?)
}
