//! Reads: what a query asks and what it answers.

use bytes::Bytes;
use raftnode::{ScanLimit, StorageError, View};
use serde::{Deserialize, Serialize};

use super::application::{corrupt, decode_pair, decode_revision};
use super::{PairRecord, keys};

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

pub(crate) fn run(view: &mut View<'_, '_>, query: Query) -> Result<Answer, StorageError> {
    let found = match query {
        Query::Get { key } => get(view, key)?.into_iter().collect(),
        Query::Scan(scan) => self::scan(view, &scan)?,
    };
    Ok(Answer { found, revision: decode_revision(view.get(&keys::REVISION)?.as_deref())? })
}

fn get(view: &mut View<'_, '_>, key: Bytes) -> Result<Option<Found>, StorageError> {
    let Some(bytes) = view.get(&keys::pair(&key))? else { return Ok(None) };
    Ok(Some(Found { record: decode_pair(bytes)?, key }))
}

fn scan(view: &mut View<'_, '_>, scan: &ScanQuery) -> Result<Vec<Found>, StorageError> {
    let limit = ScanLimit { pairs: scan.max_pairs, bytes: scan.max_bytes };
    let pairs = view.scan(&keys::pairs(&scan.start, &scan.prefix), limit)?;
    pairs.into_iter().map(|(key, value)| found(&key, value, scan.keys_only)).collect()
}

fn found(key: &Bytes, value: Bytes, keys_only: bool) -> Result<Found, StorageError> {
    let Some(key) = keys::user_key(key) else {
        return Err(corrupt("scanning pairs", &"a key outside the pairs' range"));
    };
    let mut record = decode_pair(value)?;
    if keys_only {
        record.value = Bytes::new();
    }
    Ok(Found { key, record })
}
