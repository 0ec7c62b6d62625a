//! A log id, as an operator reads and types it.

use std::fmt;
use std::str::FromStr;

use openraft::type_config::alias::LogIdOf;

use crate::raft::{NodeId, TypeConfig};

/// A place in the history of a cluster: term, leader and index of an entry, as in `3.1.55`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPoint {
    /// The term in which the entry was proposed.
    pub term: u64,
    /// The node that led then.
    pub leader: NodeId,
    /// Its index.
    pub index: u64,
}

/// Not of the form `TERM.LEADER.INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a log id of the form TERM.LEADER.INDEX, as in 3.1.55")]
pub struct NotALogPoint;

impl LogPoint {
    pub(super) fn of(log_id: &LogIdOf<TypeConfig>) -> Self {
        Self { term: log_id.leader_id.term, leader: log_id.leader_id.node_id, index: log_id.index }
    }
}

impl fmt::Display for LogPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.term, self.leader, self.index)
    }
}

impl FromStr for LogPoint {
    type Err = NotALogPoint;

    fn from_str(text: &str) -> Result<Self, NotALogPoint> {
        let numbers = text.split('.').map(|number| number.parse::<u64>().map_err(|_| NotALogPoint));
        match *numbers.collect::<Result<Vec<_>, _>>()? {
            [term, leader, index] => Ok(Self { term, leader, index }),
            _ => Err(NotALogPoint),
        }
    }
}
