//! A model run: the application on a store that never fails, ahead of the one under test, so that
//! a command can be made for the state that it will meet.

use std::sync::Arc;

use openraft::RaftTypeConfig;
use openraft::storage::RaftStateMachine as _;

use super::author::Author;
use super::broken::Broken;
use super::model::Logged;
use super::random::Random;
use super::sim_disk::SimDisk;
use super::subject::{Subject, TestTypes};
use crate::error::StorageError;
use crate::lsm::{Transaction, View};
use crate::raft::Application;
use crate::storage::Storage;

/// The log as far as it has been made, and the state behind it.
///
/// Invariant: `store` has applied the first `applied` entries of `log`, and nothing else.
pub(crate) struct Forecast<C: RaftTypeConfig, A: Application<C>> {
    subject: Subject<C, A>,
    /// Empty for an author that does not look at the state.
    log: Vec<Arc<Logged<C>>>,
    store: Option<Storage<C, Foreseen<A>>>,
    applied: usize,
}

/// Makes a command; gives the random numbers back.
type Make<C> = Box<dyn FnOnce(&mut View<'_>) -> (<C as RaftTypeConfig>::D, Random) + Send>;

/// Applies what `A` applies; its only query makes a command.
struct Foreseen<A>(A);

impl<C: RaftTypeConfig, A: Application<C>> Application<C> for Foreseen<A> {
    type Query = Make<C>;
    type Answer = (C::D, Random);

    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        index: u64,
        command: &C::D,
    ) -> Result<C::R, StorageError> {
        self.0.apply(transaction, index, command)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.0.merge(key, older, operand)
    }

    fn query(&self, view: &mut View<'_>, make: Make<C>) -> Result<(C::D, Random), StorageError> {
        Ok(make(view))
    }
}

impl<C: TestTypes, A: Application<C>> Forecast<C, A> {
    /// Behind these entries, which begin at 0.
    pub(crate) fn behind(subject: &Subject<C, A>, log: impl IntoIterator<Item = Arc<Logged<C>>>) -> Self {
        let mut this = Self { subject: subject.clone(), log: Vec::new(), store: None, applied: 0 };
        log.into_iter().for_each(|entry| this.push(entry));
        this
    }

    /// This entry comes next.
    pub(crate) fn push(&mut self, entry: Arc<Logged<C>>) {
        if let Author::Seeing(_) = self.subject.author {
            debug_assert_eq!(entry.log_id.index, self.log.len() as u64, "the next entry");
            self.log.push(entry);
        }
    }

    /// The entries from `end` on were removed.
    pub(crate) fn truncate(&mut self, end: u64) {
        self.log.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        if self.applied > self.log.len() {
            (self.store, self.applied) = (None, 0);
        }
    }

    /// A command for the state behind the log.
    pub(crate) async fn command(&mut self, random: &mut Random) -> Result<C::D, Broken> {
        let make = match self.subject.author.clone() {
            Author::Blind(command) => return Ok(command(random)),
            Author::Seeing(command) => command,
        };
        let store = match &mut self.store {
            Some(store) => store,
            none => {
                let foreseen = Foreseen(self.subject.application());
                none.insert(self.subject.in_memory().open_as(&SimDisk::default(), foreseen).await?)
            }
        };
        let entries = self.log.iter().skip(self.applied).map(|logged| Ok((logged.entry()?, None)));
        let entries = entries.collect::<Result<Vec<_>, Broken>>()?;
        store.state.apply(futures_util::stream::iter(entries.into_iter().map(Ok))).await?;
        self.applied = self.log.len();
        let mut ahead = random.clone();
        let made = store.reader.query(Box::new(move |view| (make(&mut ahead, view), ahead))).await;
        let made = made.map_err(|e| match e {
            StorageError::QueryPanicked(reason) => Broken::Promise(format!("making a command: {reason}")),
            e => e.into(),
        })?;
        let command;
        (command, *random) = made;
        Ok(command)
    }
}
