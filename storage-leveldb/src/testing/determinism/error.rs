//! Where two runs of one log part.

use std::fmt;

use bytes::Bytes;

use crate::testing::broken::Broken;

/// A key that has two values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The application's key.
    pub key: Bytes,
    /// Its value in the first run.
    pub expected: Option<Bytes>,
    /// Its value in this run.
    pub found: Option<Bytes>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value of {:?} is {:?}, not {:?}", self.key, self.found, self.expected)
    }
}

/// Why an application is not deterministic.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeterminismError {
    /// The same entry was answered differently.
    #[error(
        "entry {index} is answered differently {run}: {found:02x?}, not {expected:02x?} (as codec bytes)"
    )]
    Answer {
        /// How the log was applied.
        run: String,
        /// The entry's log index.
        index: u64,
        /// The answer of the first run, encoded.
        expected: Vec<u8>,
        /// The answer of this run, encoded.
        found: Vec<u8>,
    },
    /// The same entries led to different pairs.
    #[error("behind entry {index} {difference} {run}")]
    State {
        /// How the log was applied.
        run: String,
        /// The log index of the last entry applied. The runs may have parted since the batch before
        /// it.
        index: u64,
        /// The least key that differs.
        difference: Box<Difference>,
    },
    /// The same pairs were probed with another result.
    #[error(
        "behind entry {index} the same state answers queries differently {run}: {found:02x?}, not \
         {expected:02x?} (as codec bytes)"
    )]
    Probe {
        /// How the log was applied.
        run: String,
        /// The log index of the last entry applied.
        index: u64,
        /// What the probe of the first run answered.
        expected: Vec<u8>,
        /// What the probe of this run answered.
        found: Vec<u8>,
    },
    /// A storage failed.
    #[error("{run}: {reason}")]
    Storage {
        /// How the log was applied.
        run: String,
        /// What happened.
        #[source]
        reason: Broken,
    },
    /// The test could not run.
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}
