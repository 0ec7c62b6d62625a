//! An application's state machine alone, without consensus, in a temporary directory.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use openraft::entry::RaftEntry as _;
use openraft::storage::RaftStateMachine as _;
use openraft::{EntryPayload, LogId, RaftSnapshotBuilder as _};
use storage_leveldb::{Options, Storage, StorageError};
use tempfile::TempDir;

use super::cluster::own_pairs;
use super::subject::encoded;
use crate::application::{
    Application, Ask, At, Batch, ClusterTime, Command, Host as _, Hosted, Outcome, Outcomes, RequestId,
    Stamp, Typed, View,
};
use crate::raft::TypeConfig;

/// What became of a command: the response, or the sequence that was applied for its client before.
pub type Applied<A> = Result<<A as Application>::Response, u64>;

/// Applies commands of `A` as a node does, one entry after another, for tests of what they do.
///
/// Every method panics where a node would have failed.
pub struct Machine<A: Application> {
    application: Arc<A>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    storage: Storage<TypeConfig, Watched>,
    index: u64,
    _dir: TempDir,
}

/// The application as it is hosted, its outcomes written down.
struct Watched {
    hosted: Hosted,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
}

impl storage_leveldb::Application<TypeConfig> for Watched {
    type Query = Ask;
    type Answer = Box<dyn Any + Send>;

    fn apply(
        &self,
        txn: &mut storage_leveldb::Transaction<'_>,
        index: u64,
        batch: &Batch,
    ) -> Result<Outcomes, StorageError> {
        let outcomes = self.hosted.apply(txn, index, batch)?;
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).extend(outcomes.0.iter().cloned());
        Ok(outcomes)
    }

    fn merge(&self, key: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.hosted.merge(key, older, operand)
    }

    fn query(
        &self,
        view: &mut storage_leveldb::View<'_>,
        ask: Ask,
    ) -> Result<Box<dyn Any + Send>, StorageError> {
        ask(view)
    }
}

#[allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a test ends here, and says why")]
impl<A: Application> Machine<A> {
    /// Without any state.
    pub async fn new(application: A) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (application, outcomes) = (Arc::new(application), Arc::default());
        let hosted = Hosted::new(Arc::new(Typed(Arc::clone(&application))));
        let watched = Watched { hosted, outcomes: Arc::clone(&outcomes) };
        let storage = Storage::open(dir.path(), watched, Options::default()).await.expect("a storage");
        Self { application, outcomes, storage, index: 0, _dir: dir }
    }

    /// Applies an entry with this command alone.
    pub async fn apply(&mut self, command: A::Command) -> A::Response {
        let mut outcomes = self.apply_entry(ClusterTime::default(), vec![(None, command)]).await;
        let outcome = outcomes.pop().expect("every command has an outcome");
        outcome.unwrap_or_else(|_| unreachable!("a command without a name is applied"))
    }

    /// Applies an entry with this command alone; answers why not, if the node fails of it.
    ///
    /// # Errors
    /// The fault. Nothing can be applied any more.
    pub async fn try_apply(&mut self, command: A::Command) -> Result<A::Response, String> {
        let entry = self.try_entry(ClusterTime::default(), vec![(None, command)]).await;
        let outcome = entry?.pop().expect("every command has an outcome");
        Ok(outcome.unwrap_or_else(|_| unreachable!("a command without a name is applied")))
    }

    /// Applies an entry with these commands, some of which may have a name.
    pub async fn apply_entry(
        &mut self,
        time: ClusterTime,
        commands: Vec<(Option<RequestId>, A::Command)>,
    ) -> Vec<Applied<A>> {
        self.try_entry(time, commands).await.expect("the entry is applied")
    }

    async fn try_entry(
        &mut self,
        time: ClusterTime,
        commands: Vec<(Option<RequestId>, A::Command)>,
    ) -> Result<Vec<Applied<A>>, String> {
        let commands = commands.iter();
        let commands: Vec<_> = commands
            .map(|(request_id, command)| Command {
                request_id: *request_id,
                since: A::SCHEMA,
                bytes: encoded("a command", command),
            })
            .collect();
        Ok(self.outcomes_of(time, &commands).await?.into_iter().map(Self::applied).collect())
    }

    /// Applies an entry whose payload is these bytes, as the log or a peer may have them: for the
    /// fuzz targets.
    ///
    /// # Errors
    /// The fault. Nothing can be applied any more.
    #[doc(hidden)]
    pub async fn try_apply_bytes(&mut self, batch: Bytes) -> Result<Vec<Applied<A>>, String> {
        let outcomes = self.outcomes_of_batch(Batch::from_bytes(batch)).await?;
        Ok(outcomes.into_iter().map(Self::applied).collect())
    }

    fn applied(outcome: Outcome) -> Applied<A> {
        match outcome {
            Outcome::Applied(bytes) => Ok(codec::decode(&bytes).expect("a response")),
            Outcome::SequenceTooLow { last } => Err(last),
        }
    }

    async fn outcomes_of(&mut self, time: ClusterTime, commands: &[Command]) -> Result<Vec<Outcome>, String> {
        self.outcomes_of_batch(Batch::new(Stamp { schema: A::SCHEMA, time }, commands)).await
    }

    async fn outcomes_of_batch(&mut self, batch: Batch) -> Result<Vec<Outcome>, String> {
        self.index += 1;
        let leader = openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 };
        let payload = EntryPayload::Normal(batch);
        let entry = (openraft::Entry::new(LogId::new(leader, self.index), payload), None);
        self.storage.state.apply(stream::iter([Ok(entry)])).await.map_err(|e| e.to_string())?;
        Ok(std::mem::take(&mut *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Answers a query from the state as it is.
    ///
    /// # Errors
    /// What the application answers.
    pub async fn query(&self, query: A::Query) -> Result<A::Answer, StorageError> {
        let application = Arc::clone(&self.application);
        let ask: Ask = Box::new(move |view| Ok(Box::new(application.query(&mut View::new(view), query)?)));
        let found = self.storage.reader.query(ask).await?;
        Ok(*found.downcast().expect("the answer's own type"))
    }

    /// Writes what is in memory to disk, as a snapshot does.
    pub async fn snapshot(&mut self) {
        self.storage.state.get_snapshot_builder().await.build_snapshot().await.expect("a snapshot");
    }

    /// Everything stored, the node's own records included.
    #[cfg(test)]
    pub(crate) async fn stored(&self, range: storage_leveldb::scan::KeyRange) -> Vec<(Bytes, Bytes)> {
        let ask: Ask = Box::new(move |view| Ok(Box::new(view.scan(range).collect::<Result<Vec<_>, _>>()?)));
        *self.storage.reader.query(ask).await.expect("pairs").downcast().expect("what was asked")
    }

    /// The application's own pairs.
    pub(super) async fn pairs(&self) -> Vec<(Bytes, Bytes)> {
        let pairs = self.storage.reader.query(own_pairs()).await.expect("pairs");
        *pairs.downcast().expect("what was asked")
    }

    /// Applies a command as it was applied elsewhere; answers the encoded response.
    pub(super) async fn apply_encoded(&mut self, at: &At, bytes: Bytes) -> Result<Bytes, String> {
        let command = Command { request_id: at.request_id, since: at.schema, bytes };
        match self.outcomes_of(at.time, &[command]).await?.pop() {
            Some(Outcome::Applied(response)) => Ok(response),
            other => Err(format!("{other:?}")),
        }
    }

    /// Answers an encoded query.
    pub(super) async fn query_encoded(&self, query: &Bytes) -> Result<Bytes, String> {
        let (host, query) = (Typed(Arc::clone(&self.application)), query.clone());
        let ask: Ask = Box::new(move |view| {
            let answer: Result<Bytes, String> = host.query(view, &query).map_err(|e| e.to_string());
            Ok(Box::new(answer))
        });
        let found = self.storage.reader.query(ask).await.map_err(|e| e.to_string())?;
        *found.downcast().expect("an encoded answer")
    }
}
