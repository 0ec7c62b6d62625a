//! Commands on their way into the log: those that wait together become one entry.
//!
//! A command that comes in while nothing is on its way is proposed at once, by its caller. While
//! [`MAX_BATCHES_IN_FLIGHT`](super::in_flight::MAX_BATCHES_IN_FLIGHT) entries are on their way,
//! commands wait and go along with the next; and those of clients that were answered together wait
//! for each other ([`Returning`](super::returning::Returning)). So entries carry the more commands
//! the more there are to carry, and the order in which commands were queued is that in which they
//! are applied.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::admission::MAX_REQUESTS_IN_FLIGHT;
use super::in_flight::InFlight;
use super::proposal::{Applied, Proposal, Reply, answer_failure};
use super::returning;
use super::status_codes::{self, Failure};
use crate::application::{Command, Hosted};
use crate::raft::Raft;

/// Commands in one entry.
pub(super) const MAX_BATCH_COMMANDS: usize = 1024;
/// An entry is full once its commands have this many bytes; a single command may have more.
pub(super) const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Where commands wait. Cheap to clone.
///
/// Invariant: each proposal holds room, so that no more than [`MAX_REQUESTS_IN_FLIGHT`] wait or are
/// on their way, also where their callers have given them up.
#[derive(Clone)]
pub(crate) struct Proposals {
    waiting: mpsc::UnboundedSender<Vec<Proposal>>,
    in_flight: Arc<InFlight>,
    room: Arc<Semaphore>,
}

impl Proposals {
    /// Starts the task that proposes; it ends when the last clone is dropped.
    pub(crate) fn start(raft: Raft, hosted: Hosted) -> Self {
        let (waiting, arrivals) = mpsc::unbounded_channel();
        let in_flight = Arc::new(InFlight::new(raft, hosted));
        let proposer = Proposer { in_flight: Arc::clone(&in_flight), arrivals, waiting: Vec::new() };
        tokio::spawn(proposer.run());
        Self { waiting, in_flight, room: Arc::new(Semaphore::new(MAX_REQUESTS_IN_FLIGHT)) }
    }

    /// Puts a command into the log and waits until it is applied.
    ///
    /// # Errors
    /// It was not, or that is not known. openraft itself refuses it, not appended, if this node
    /// does not lead.
    pub(crate) async fn propose(&self, command: Command) -> Result<Applied, Failure> {
        let (done, outcome) = oneshot::channel();
        if let Ok(room) = Arc::clone(&self.room).acquire_owned().await {
            let proposal = Proposal { command, reply: Reply::Alone(done), _room: room };
            self.propose_alone_or_queue(proposal).await;
        }
        outcome.await.map_err(|_| Failure::Final(status_codes::stopped_unknown()))?
    }

    /// Without other tasks in between, where nothing else is on its way: of the 0.9 ms that a write
    /// takes whose client writes alone, each switch to another task costs some hundredths.
    async fn propose_alone_or_queue(&self, proposal: Proposal) {
        let stamp = self.in_flight.stamp();
        let is_understood = proposal.command.since <= stamp.schema;
        match self.in_flight.place_for_one().filter(|_| is_understood) {
            Some(place) => self.in_flight.propose(stamp, vec![proposal], place).await.await,
            None => self.send(vec![proposal]),
        }
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
    in_flight: Arc<InFlight>,
    arrivals: mpsc::UnboundedReceiver<Vec<Proposal>>,
    /// Those that have come in and are in no entry yet.
    waiting: Vec<Proposal>,
}

impl Proposer {
    async fn run(mut self) {
        while self.has_waiting().await {
            let Some(place) = self.in_flight.place().await else { return };
            // Commands that came in with the first are in tasks that are still to run.
            yield_now().await;
            self.gather();
            self.await_returning().await;
            let stamp = self.in_flight.stamp();
            self.refuse_new(stamp.schema);
            let proposals = self.take();
            if !proposals.is_empty() {
                // In the background: the next entry does not wait for it.
                drop(self.in_flight.propose(stamp, proposals, place).await);
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
        self.in_flight.returning.came(proposals.len());
        self.waiting.append(&mut proposals);
    }

    /// Waits for those that are expected to come soon.
    async fn await_returning(&mut self) {
        let until = Instant::now() + returning::MAX_WAIT;
        while self.in_flight.returning.are_due() && self.waiting.len() < MAX_BATCH_COMMANDS {
            match timeout_at(until, self.arrivals.recv()).await {
                Ok(Some(proposals)) => self.arrived(proposals),
                Ok(None) | Err(_) => self.in_flight.returning.forget(),
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
