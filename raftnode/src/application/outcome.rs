//! What became of commands, told to the clients that sent them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What became of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It was applied, now or when it arrived before: the application's response, encoded.
    Applied(Bytes),
    /// Refused: a write with a higher sequence was applied for this client before.
    SequenceTooLow {
        /// The highest sequence applied.
        last: u64,
    },
}

/// What became of the commands of a batch, in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);
