//! Where a running node is reached by the others, and what it does for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use storage_leveldb::{SnapshotInbox, StateReader};
use tonic::Status;

use super::flaw::Flaw;
use super::history::{FoundAt, found_at};
use crate::api::status_codes::{self, Failure};
use crate::api::{Proposals, ReadIndex};
use crate::application::{Command, Host, Hosted, Outcome, View};
use crate::raft::{Raft, TypeConfig};

/// What others may ask of a node. Cheap to clone.
#[derive(Clone)]
pub(super) struct Port {
    /// Another one after each start.
    pub(super) incarnation: u64,
    pub(super) raft: Raft,
    pub(super) inbox: SnapshotInbox,
    pub(super) requests: Requests,
}

/// What a node does for others, and for its own clients. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    host: Arc<dyn Host>,
    reader: StateReader<TypeConfig, Hosted>,
    proposals: Proposals,
    read_index: ReadIndex,
    flaw: Option<Flaw>,
    repetitions: Arc<AtomicU64>,
    /// Its power has failed: what it still answers must not be heard.
    is_dead: Arc<AtomicBool>,
}

impl Requests {
    /// Those of a node that has just started.
    pub(super) fn start(
        host: Arc<dyn Host>,
        hosted: Hosted,
        reader: StateReader<TypeConfig, Hosted>,
        raft: &Raft,
        flaw: Option<Flaw>,
    ) -> Self {
        let proposals = Proposals::start(raft.clone(), hosted);
        let read_index = ReadIndex::start(raft.clone());
        Self {
            host,
            reader,
            proposals,
            read_index,
            flaw,
            repetitions: Arc::default(),
            is_dead: Arc::default(),
        }
    }

    /// The node's power fails.
    pub(super) fn die(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    /// Puts a command into the log and waits until it is applied.
    pub(super) async fn write(self, mut command: Command) -> Result<Outcome, Failure> {
        if self.flaw == Some(Flaw::EarlyAnswers) {
            tokio::spawn(async move { self.proposals.propose(command).await.map(drop) });
            return Ok(Outcome::Applied(Bytes::new()));
        }
        if self.flaw == Some(Flaw::LostSessions)
            && let Some(id) = &mut command.request_id
        {
            // A sequence that no session has.
            id.sequence = self.repetitions.fetch_add(1, Ordering::SeqCst) + 1;
        }
        let applied = self.proposals.propose(command).await;
        self.alive()?;
        Ok(applied?.outcome)
    }

    /// Whether a majority confirms that it leads.
    pub(super) async fn confirmed(self) -> bool {
        self.read_index.confirm().await.is_ok()
    }

    /// Answers with everything in it that was acknowledged before.
    pub(super) async fn read(self, query: Bytes) -> Result<FoundAt, Failure> {
        if self.answers_at_once() {
            return self.read_stale(query).await;
        }
        let confirmed = self.read_index.confirm().await;
        self.alive()?;
        confirmed?;
        self.read_stale(query).await
    }

    fn answers_at_once(&self) -> bool {
        self.flaw == Some(Flaw::UnconfirmedReads) || self.forwards_no_reads()
    }

    /// Whether it takes itself for a leader.
    pub(super) fn forwards_no_reads(&self) -> bool {
        self.flaw == Some(Flaw::StaleForwards)
    }

    /// Answers from what is applied here.
    pub(super) async fn read_stale(self, query: Bytes) -> Result<FoundAt, Failure> {
        let host = Arc::clone(&self.host);
        let found = self.reader.query(Box::new(move |view| {
            let mut seen = View::new(view);
            let (position, time) = (seen.position()?, seen.time()?);
            let answer = host.query(view, &query).map_err(|e| e.to_string());
            Ok(Box::new(FoundAt { position, time, answer }))
        }));
        self.alive()?;
        found.await.map(found_at).map_err(|e| Failure::Final(Status::failed_precondition(e.to_string())))
    }

    /// What a node says whose power has failed is not heard.
    pub(super) fn alive(&self) -> Result<(), Failure> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(Failure::Lost(status_codes::stopped_unknown()));
        }
        Ok(())
    }
}
