//! What applying a command answers.

use serde::{Deserialize, Serialize};

use crate::app::PairRecord;

/// The outcome of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// A put was applied.
    Put {
        /// How many writes had changed something, this one included.
        revision: u64,
        /// What it replaced, if that was asked for.
        previous: Option<PairRecord>,
    },
    /// A delete was applied.
    Delete {
        /// How many writes had changed something, this one included if it did.
        revision: u64,
        /// Whether there was something to delete.
        deleted: bool,
        /// What it removed, if that was asked for.
        previous: Option<PairRecord>,
    },
}

impl Response {
    /// The pair that was replaced or removed, if the answer carries one.
    pub(crate) fn previous_mut(&mut self) -> &mut Option<PairRecord> {
        match self {
            Self::Put { previous, .. } | Self::Delete { previous, .. } => previous,
        }
    }
}
