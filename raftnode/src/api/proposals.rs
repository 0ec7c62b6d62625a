//! Commands on their way into the log: those that wait together become one entry.
//!
//! A command that comes in while nothing is on its way is proposed at once. While
//! [`MAX_BATCHES_IN_FLIGHT`] entries are on their way, commands wait and go along with the next;
//! and those of clients that were answered together wait for each other ([`Returning`]). So entries
//! carry the more commands the more there are to carry, and the order in which commands came in is
//! that in which they are applied.

use std::sync::Arc;

use openraft::errors::RaftError;
use openraft::impls::ProgressResponder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::admission::MAX_REQUESTS_IN_FLIGHT;
use super::returning::{self, Returning};
use super::status_codes::{self, Failure};
use crate::application::{Batch, Command, Hosted, Outcome, Stamp};
use crate::raft::{Raft, TypeConfig};

/// Commands in one entry.
pub(super) const MAX_BATCH_COMMANDS: usize = 1024;
/// An entry is full once its commands have this many bytes; a single command may have more.
pub(super) const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Entries that are proposed and not applied yet.
pub(super) const MAX_BATCHES_IN_FLIGHT: usize = 2;

/// A command that was applied.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    /// Of the entry that carried it.
    pub(super) log_index: u64,
    pub(super) term: u64,
}

/// A command, and where its outcome goes.
struct Proposal {
    command: Command,
    reply: Reply,
    /// Its room among those that are not answered.
    _room: OwnedSemaphorePermit,
}

/// Where the outcome of a command goes.
pub(super) enum Reply {
    /// To the future that waits for it.
    Alone(oneshot::Sender<Result<Applied, Failure>>),
    /// To a stream that has many, under its number there. What waits there is bounded by what the
    /// stream may have under way.
    Numbered(mpsc::UnboundedSender<(u64, Result<Applied, Failure>)>, u64),
}

impl Reply {
    /// A client that has gone away wants no answer.
    fn send(self, outcome: Result<Applied, Failure>) {
        match self {
            Self::Alone(done) => drop(done.send(outcome)),
            Self::Numbered(stream, number) => drop(stream.send((number, outcome))),
        }
    }

    fn is_unwanted(&self) -> bool {
        match self {
            Self::Alone(done) => done.is_closed(),
            Self::Numbered(stream, _) => stream.is_closed(),
        }
    }
}

/// Where commands wait. Cheap to clone.
///
/// Invariant: each proposal holds room, so that no more than [`MAX_REQUESTS_IN_FLIGHT`] wait or are
/// on their way, also where their callers have given them up.
#[derive(Clone)]
pub(crate) struct Proposals {
    waiting: mpsc::UnboundedSender<Vec<Proposal>>,
    room: Arc<Semaphore>,
}

impl Proposals {
    /// Starts the task that proposes; it ends when the last clone is dropped.
    pub(crate) fn start(raft: Raft, hosted: Hosted) -> Self {
        let (waiting, arrivals) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(MAX_BATCHES_IN_FLIGHT));
        let returning = Returning::default();
        tokio::spawn(Proposer { raft, hosted, arrivals, places, waiting: Vec::new(), returning }.run());
        Self { waiting, room: Arc::new(Semaphore::new(MAX_REQUESTS_IN_FLIGHT)) }
    }

    /// Puts a command into the log and waits until it is applied.
    ///
    /// # Errors
    /// It was not, or that is not known. openraft itself refuses it, not appended, if this node
    /// does not lead.
    pub(crate) async fn propose(&self, command: Command) -> Result<Applied, Failure> {
        let (done, outcome) = oneshot::channel();
        if let Ok(room) = Arc::clone(&self.room).acquire_owned().await {
            self.send(vec![Proposal { command, reply: Reply::Alone(done), _room: room }]);
        }
        outcome.await.map_err(|_| Failure::Final(status_codes::stopped_unknown()))?
    }

    /// Puts commands into the log in this order; each outcome goes where its reply says.
    pub(super) fn begin(&self, commands: Vec<(Command, Reply)>) {
        let mut proposals = Vec::with_capacity(commands.len());
        for (command, reply) in commands {
            match Arc::clone(&self.room).try_acquire_owned() {
                Ok(room) => proposals.push(Proposal { command, reply, _room: room }),
                Err(_) => reply.send(Err(Failure::NotApplied(status_codes::too_many_wait()))),
            }
        }
        self.send(proposals);
    }

    fn send(&self, proposals: Vec<Proposal>) {
        if let Err(mpsc::error::SendError(proposals)) = self.waiting.send(proposals) {
            let gone = Failure::Final(Status::unavailable("this node is stopping; ask another node"));
            answer_failure(proposals, &gone);
        }
    }
}

/// The task that proposes.
struct Proposer {
    raft: Raft,
    hosted: Hosted,
    arrivals: mpsc::UnboundedReceiver<Vec<Proposal>>,
    places: Arc<Semaphore>,
    /// Those that have come in and are in no entry yet.
    waiting: Vec<Proposal>,
    returning: Returning,
}

impl Proposer {
    async fn run(mut self) {
        while self.has_waiting().await {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            // Commands that came in with the first are in tasks that are still to run.
            yield_now().await;
            self.gather();
            self.await_returning().await;
            let stamp = self.stamp();
            self.refuse_new(stamp.schema);
            let proposals = self.take();
            if !proposals.is_empty() {
                self.propose(stamp, proposals, place).await;
            }
        }
    }

    /// Waits for a proposal; answers false if none can come any more.
    async fn has_waiting(&mut self) -> bool {
        if self.waiting.is_empty() {
            let Some(proposals) = self.arrivals.recv().await else { return false };
            self.arrived(proposals);
        }
        true
    }

    fn arrived(&mut self, mut proposals: Vec<Proposal>) {
        self.returning.came(proposals.len());
        self.waiting.append(&mut proposals);
    }

    /// Waits for those that are expected to come soon.
    async fn await_returning(&mut self) {
        let until = Instant::now() + returning::MAX_WAIT;
        while self.returning.are_due() && self.waiting.len() < MAX_BATCH_COMMANDS {
            match timeout_at(until, self.arrivals.recv()).await {
                Ok(Some(proposals)) => self.arrived(proposals),
                Ok(None) | Err(_) => self.returning.forget(),
            }
        }
    }

    /// Takes over what has come in meanwhile.
    fn gather(&mut self) {
        while self.waiting.len() < MAX_BATCH_COMMANDS
            && let Ok(proposals) = self.arrivals.try_recv()
        {
            self.arrived(proposals);
        }
        // Nothing has been done about them yet.
        self.waiting.retain(|proposal| !proposal.reply.is_unwanted());
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
            proposal.reply.send(Err(failure));
        }
    }

    /// As many as fit into an entry.
    fn take(&mut self) -> Vec<Proposal> {
        let count = fitting(self.waiting.iter().map(|proposal| proposal.command.cost_bytes()));
        self.waiting.drain(..count).collect()
    }

    /// Hands them to consensus in this order, and lets another task wait for the outcome.
    async fn propose(&self, stamp: Stamp, proposals: Vec<Proposal>, place: OwnedSemaphorePermit) {
        let batch = Batch::new(stamp, proposals.iter().map(|proposal| &proposal.command));
        let (responder, outcome) = ProgressResponder::<TypeConfig, _>::complete_only();
        if let Err(fatal) = self.raft.client_write_ff(batch, Some(responder)).await {
            return answer_failure(proposals, &status_codes::write_failure(RaftError::Fatal(fatal)));
        }
        let returning = self.returning.clone();
        tokio::spawn(async move {
            let outcome = outcome.await;
            returning.answered(proposals.len());
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

/// How many commands of these sizes fit into an entry: the first one does, whatever its size.
fn fitting(costs_bytes: impl Iterator<Item = usize>) -> usize {
    let mut sum_bytes = 0_usize;
    let mut count = 0;
    for cost_bytes in costs_bytes.take(MAX_BATCH_COMMANDS) {
        sum_bytes += cost_bytes;
        if count > 0 && sum_bytes > MAX_BATCH_BYTES {
            break;
        }
        count += 1;
    }
    count
}

fn answer(proposals: Vec<Proposal>, outcomes: Vec<Outcome>, log_index: u64, term: u64) {
    debug_assert_eq!(proposals.len(), outcomes.len(), "every command of a batch has an outcome");
    for (proposal, outcome) in proposals.into_iter().zip(outcomes) {
        proposal.reply.send(Ok(Applied { outcome, log_index, term }));
    }
}

fn answer_failure(proposals: Vec<Proposal>, failure: &Failure) {
    for proposal in proposals {
        proposal.reply.send(Err(failure.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_full_by_the_number_of_its_commands() {
        assert_eq!(fitting([].into_iter()), 0);
        assert_eq!(fitting([0].into_iter()), 1);
        assert_eq!(fitting(std::iter::repeat_n(1, MAX_BATCH_COMMANDS)), MAX_BATCH_COMMANDS);
        assert_eq!(fitting(std::iter::repeat_n(1, MAX_BATCH_COMMANDS + 1)), MAX_BATCH_COMMANDS);
    }

    #[test]
    fn an_entry_is_full_by_the_bytes_of_its_commands() {
        let half = MAX_BATCH_BYTES / 2;
        assert_eq!(fitting([half, half, 1].into_iter()), 2);
        assert_eq!(fitting([half, half + 1, 1].into_iter()), 1);
        // What does not fit waits, and so does what came after it: the order is kept.
        assert_eq!(fitting([half, MAX_BATCH_BYTES, 1].into_iter()), 1);
    }

    #[test]
    fn a_command_that_is_larger_than_an_entry_goes_alone() {
        assert_eq!(fitting([MAX_BATCH_BYTES + 1, 1].into_iter()), 1);
    }
}
