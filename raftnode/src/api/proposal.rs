//! A command on its way into the log, and where its outcome goes.

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::status_codes::Failure;
use crate::application::{Command, Outcome};

/// A command that was applied.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    /// Of the entry that carried it.
    pub(super) log_index: u64,
    pub(super) term: u64,
}

/// A command, and where its outcome goes.
pub(super) struct Proposal {
    pub(super) command: Command,
    pub(super) reply: Reply,
    /// Its room among those that are not answered.
    pub(super) _room: OwnedSemaphorePermit,
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
    pub(super) fn send(self, outcome: Result<Applied, Failure>) {
        match self {
            Self::Alone(done) => drop(done.send(outcome)),
            Self::Numbered(stream, number) => drop(stream.send((number, outcome))),
        }
    }

    pub(super) fn is_unwanted(&self) -> bool {
        match self {
            Self::Alone(done) => done.is_closed(),
            Self::Numbered(stream, _) => stream.is_closed(),
        }
    }
}

/// Each is told its outcome.
pub(super) fn answer(proposals: Vec<Proposal>, outcomes: Vec<Outcome>, log_index: u64, term: u64) {
    debug_assert_eq!(proposals.len(), outcomes.len(), "every command of a batch has an outcome");
    for (proposal, outcome) in proposals.into_iter().zip(outcomes) {
        proposal.reply.send(Ok(Applied { outcome, log_index, term }));
    }
}

/// All are told why there is none.
pub(super) fn answer_failure(proposals: Vec<Proposal>, failure: &Failure) {
    for proposal in proposals {
        proposal.reply.send(Err(failure.clone()));
    }
}
