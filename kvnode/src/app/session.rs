//! What is remembered of each client, so that a write arriving twice is applied once.
//!
//! Memory is bounded by generations. Log index `i` belongs to generation `i / 262144`. A session is
//! written into the generation of its write, looked up in the current generation and the one
//! before, and swept (see [`sweep`](super::sweep)) once it is older. So a client's last write is
//! remembered for at least the next 262,144 log entries and at most twice as many sessions exist,
//! plus those the sweep has not reached. Everything depends on log indexes only: all nodes remember and
//! forget the same.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage_leveldb::{StorageError, Transaction};

use super::{RequestId, Response, application::corrupt, keys};

/// Log entries in one generation.
pub(crate) const GENERATION_ENTRIES: u64 = 262_144;

/// A previous value is part of a remembered answer up to this size. When a client repeats a write that
/// returned a bigger one, the repeated answer has every field of the first but not the previous
/// pair: remembering it would let each client pin 1 MiB of state.
pub(crate) const MAX_REMEMBERED_VALUE_BYTES: usize = 4096;

/// A client's last write and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Of the client's last applied write.
    pub(crate) sequence: u64,
    /// What that write answered.
    pub(crate) response: Response,
}

/// The generation a log index belongs to.
pub(crate) fn generation(index: u64) -> u64 {
    index / GENERATION_ENTRIES
}

/// The answer to a write that must not be applied: a repetition, or one that is too old.
pub(crate) fn settled(
    txn: &mut Transaction<'_>,
    index: u64,
    id: &RequestId,
) -> Result<Option<Response>, StorageError> {
    let Some(session) = find(txn, index, &id.client_id)? else { return Ok(None) };
    Ok(match id.sequence.cmp(&session.sequence) {
        std::cmp::Ordering::Less => Some(Response::SequenceTooLow { last: session.sequence }),
        std::cmp::Ordering::Equal => Some(session.response),
        std::cmp::Ordering::Greater => None,
    })
}

/// Remembers the answer to a client's newest write.
pub(crate) fn remember(
    txn: &mut Transaction<'_>,
    index: u64,
    id: &RequestId,
    response: &Response,
) -> Result<(), StorageError> {
    let mut response = response.clone();
    if let Some(previous) = response.previous_mut() {
        previous.take_if(|pair| pair.value.len() > MAX_REMEMBERED_VALUE_BYTES);
    }
    let key = keys::session(generation(index), &id.client_id);
    let session = Session { sequence: id.sequence, response };
    let bytes = codec::encode(&session).map_err(|e| corrupt("encoding a session", &e))?;
    txn.put(&key, &bytes);
    Ok(())
}

fn find(
    txn: &mut Transaction<'_>,
    index: u64,
    client_id: &[u8; 16],
) -> Result<Option<Session>, StorageError> {
    let current = generation(index);
    for generation in [Some(current), current.checked_sub(1)].into_iter().flatten() {
        if let Some(bytes) = txn.get(&keys::session(generation, client_id))? {
            return decode(&bytes).map(Some);
        }
    }
    Ok(None)
}

fn decode(bytes: &Bytes) -> Result<Session, StorageError> {
    codec::decode(bytes).map_err(|e| corrupt("reading a session", &e))
}
