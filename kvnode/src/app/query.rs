//! Reads: what a query asks and what it answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::PairRecord;

/// A read of the state this node has applied.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Query {
    /// The pair of one key.
    Get {
        /// The user's key.
        key: Bytes,
    },
    /// Pairs in ascending key order.
    Scan(ScanQuery),
}

/// Which pairs a scan wants, and how much at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScanQuery {
    /// Only keys from here on.
    pub start: Bytes,
    /// Only keys that begin with this.
    pub prefix: Bytes,
    /// At most this many pairs.
    pub max_pairs: usize,
    /// Stops after this many bytes of keys and values; one pair is always returned if there is one.
    pub max_bytes: usize,
    /// Leaves the values empty.
    pub keys_only: bool,
}

/// A key and what is stored under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The user's key.
    pub key: Bytes,
    /// Value and history.
    pub record: PairRecord,
}

/// What a query saw, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// For a get none or one.
    pub found: Vec<Found>,
    /// How many writes had changed something in the state that was read.
    pub revision: u64,
}
