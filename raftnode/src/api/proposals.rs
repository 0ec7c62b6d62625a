//! Commands on their way into the log: those that wait together become one entry.
//!
//! A command that comes in while nothing is on its way is proposed at once. While
//! [`MAX_BATCHES_IN_FLIGHT`] entries are on their way, commands wait and go along with the next: so
//! entries carry the more commands the more there are to carry, and the order in which commands
//! came in is that in which they are applied.

use std::sync::Arc;

use openraft::errors::RaftError;
use openraft::impls::ProgressResponder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::Status;

use super::admission::MAX_REQUESTS_IN_FLIGHT;
use super::status_codes::{self, Failure};
use crate::application::{Batch, Command, Hosted, Outcome, Stamp};
use crate::raft::{Raft, TypeConfig};

/// Commands in one entry.
pub(super) const MAX_BATCH_COMMANDS: usize = 1024;
/// An entry is full once its commands have this many bytes; a single command may have more.
pub(super) const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Entries that are proposed and not applied yet.
pub(super) const MAX_BATCHES_IN_FLIGHT: usize = 4;
/// Commands waiting for the next entry: as many as can be in flight.
const WAITING_COMMANDS: usize = MAX_REQUESTS_IN_FLIGHT;

/// A command that was applied.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    /// Of the entry that carried it.
    pub(super) log_index: u64,
    pub(super) term: u64,
}

/// A command, and the request that waits for its outcome.
struct Proposal {
    command: Command,
    done: oneshot::Sender<Result<Applied, Failure>>,
}

/// Where commands wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposals {
    waiting: mpsc::Sender<Proposal>,
}

impl Proposals {
    /// Starts the task that proposes; it ends when the last clone is dropped.
    pub(crate) fn start(raft: Raft, hosted: Hosted) -> Self {
        let (waiting, arrivals) = mpsc::channel(WAITING_COMMANDS);
        let places = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
        tokio::spawn(Proposer { raft, hosted, arrivals, places, waiting: Vec::new() }.run());
        Self { waiting }
    }

    /// Puts a command into the log and waits until it is applied.
    ///
    /// # Errors
    /// It was not, or that is not known. openraft itself refuses it, not appended, if this node
    /// does not lead.
    pub(crate) async fn propose(&self, command: Command) -> Result<Applied, Failure> {
        let (done, outcome) = oneshot::channel();
        let gone = || Failure::Final(Status::unavailable("this node is stopping; ask another node"));
        self.waiting.send(Proposal { command, done }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| Failure::Final(status_codes::stopped_unknown()))?
    }
}

/// The task that proposes.
struct Proposer {
    raft: Raft,
    hosted: Hosted,
    arrivals: mpsc::Receiver<Proposal>,
    places: Arc<Semaphore>,
    /// Those that have come in and are in no entry yet.
    waiting: Vec<Proposal>,
}

impl Proposer {
    async fn run(mut self) {
        while !self.waiting.is_empty()
            || self.arrivals.recv_many(&mut self.waiting, MAX_BATCH_COMMANDS).await > 0
        {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            self.gather();
            let stamp = self.stamp();
            self.refuse_new(stamp.schema);
            let proposals = self.take();
            if !proposals.is_empty() {
                self.propose(stamp, proposals, place).await;
            }
        }
    }

    /// Takes over what has come in meanwhile.
    fn gather(&mut self) {
        while self.waiting.len() < MAX_BATCH_COMMANDS
            && let Ok(proposal) = self.arrivals.try_recv()
        {
            self.waiting.push(proposal);
        }
        // Nothing has been done about them yet.
        self.waiting.retain(|proposal| !proposal.done.is_closed());
    }

    /// What the next entry is stamped with.
    fn stamp(&self) -> Stamp {
        let schema = self.hosted.in_force().next();
        Stamp { schema, time: self.hosted.clock().now() }
    }

    /// Refuses those that a member's program would not understand.
    fn refuse_new(&mut self, schema: u32) {
        let (refused, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|proposal| proposal.command.since > schema);
        self.waiting = waiting;
        let refused: Vec<_> = refused;
        for proposal in refused {
            let failure = Failure::Final(status_codes::too_new(proposal.command.since, schema));
            drop(proposal.done.send(Err(failure)));
        }
    }

    /// As many as fit into an entry, and at least one.
    fn take(&mut self) -> Vec<Proposal> {
        let mut bytes = 0;
        let mut fits = |proposal: &Proposal| {
            bytes += proposal.command.cost_bytes();
            bytes <= MAX_BATCH_BYTES
        };
        let count = self.waiting.iter().take_while(|proposal| fits(proposal)).count();
        self.waiting.drain(..count.max(1).min(self.waiting.len())).collect()
    }

    /// Hands them to consensus in this order, and lets another task wait for the outcome.
    async fn propose(&self, stamp: Stamp, proposals: Vec<Proposal>, place: OwnedSemaphorePermit) {
        let batch = Batch::new(stamp, proposals.iter().map(|proposal| &proposal.command));
        let (responder, outcome) = ProgressResponder::<TypeConfig, _>::complete_only();
        if let Err(fatal) = self.raft.client_write_ff(batch, Some(responder)).await {
            return answer_failure(proposals, &status_codes::write_failure(RaftError::Fatal(fatal)));
        }
        tokio::spawn(async move {
            let outcome = outcome.await;
            drop(place);
            match outcome {
                Ok(Ok(written)) => {
                    let log_id = written.log_id;
                    answer(proposals, written.data.0, log_id.index, log_id.committed_leader_id().term);
                }
                Ok(Err(error)) => {
                    answer_failure(proposals, &status_codes::write_failure(RaftError::APIError(error)));
                }
                // Consensus has stopped, and does not say whether the entry was appended.
                Err(_) => answer_failure(proposals, &Failure::Final(status_codes::stopped_unknown())),
            }
        });
    }
}

/// A client that has gone away wants no answer.
fn answer(proposals: Vec<Proposal>, outcomes: Vec<Outcome>, log_index: u64, term: u64) {
    debug_assert_eq!(proposals.len(), outcomes.len(), "every command of a batch has an outcome");
    for (proposal, outcome) in proposals.into_iter().zip(outcomes) {
        drop(proposal.done.send(Ok(Applied { outcome, log_index, term })));
    }
}

fn answer_failure(proposals: Vec<Proposal>, failure: &Failure) {
    for proposal in proposals {
        drop(proposal.done.send(Err(failure.clone())));
    }
}
