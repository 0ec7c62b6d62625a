//! What applying a command answers.

use serde::{Deserialize, Serialize};

use crate::app::PairRecord;

/// The outcome of one applied log entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The entry carried no command: a membership change or a new leader's blank entry.
    #[default]
    Nothing,
    /// A put was applied.
    Put {
        /// Log index at which it was applied: the first time, if it arrived several times.
        revision: u64,
        /// What it replaced, if that was asked for.
        previous: Option<PairRecord>,
    },
    /// A delete was applied.
    Delete {
        /// Log index at which it was applied: the first time, if it arrived several times.
        revision: u64,
        /// Whether there was something to delete.
        deleted: bool,
        /// What it removed, if that was asked for.
        previous: Option<PairRecord>,
    },
    /// Refused: this client has already had a write with a higher sequence applied.
    SequenceTooLow {
        /// The highest sequence applied for this client.
        last: u64,
    },
}

impl Response {
    /// The pair that was replaced or removed, if the answer carries one.
    pub(crate) fn previous_mut(&mut self) -> Option<&mut Option<PairRecord>> {
        match self {
            Self::Put { previous, .. } | Self::Delete { previous, .. } => Some(previous),
            Self::Nothing | Self::SequenceTooLow { .. } => None,
        }
    }
}
