//! What is remembered of each client, so that a write arriving twice is applied once.
//!
//! Memory is bounded by generations. The command at position `p` belongs to generation `p /
//! 262144`. A session is written into the generation of its write, looked up in the current
//! generation and the one before, and swept once it is older. So a client's last write is
//! remembered for at least the next 262,144 commands and at most twice as many sessions exist, plus
//! those the sweep has not reached. Everything depends on positions only: all nodes remember and
//! forget the same.

use std::cmp::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage_leveldb::StorageError;
use storage_leveldb::scan::ScanLimit;

use super::effects::Effects;
use super::outcome::Outcome;
use super::place;
use super::request_id::RequestId;

/// Commands in one generation.
pub(crate) const GENERATION_COMMANDS: u64 = 262_144;
/// A step of the sweep is taken at every position divisible by this.
const STEP_EVERY_COMMANDS: u64 = 256;
/// Most sessions deleted in one step: four times as many as can be written between two steps, so
/// the sweep always wins.
const STEP_SESSIONS: usize = 1024;
/// Most bytes read in one step.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// A client's last write and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Of the client's last applied write.
    pub(crate) sequence: u64,
    /// What that write answered, encoded.
    pub(crate) response: Bytes,
}

/// The generation a position belongs to.
pub(crate) fn generation(position: u64) -> u64 {
    position / GENERATION_COMMANDS
}

/// The outcome of a write that must not be applied: a repetition, or one that is too old.
pub(super) fn settled(
    txn: &mut Effects<'_, '_>,
    position: u64,
    id: &RequestId,
) -> Result<Option<Outcome>, StorageError> {
    let Some(session) = find(txn, position, &id.client_id)? else { return Ok(None) };
    Ok(match id.sequence.cmp(&session.sequence) {
        Ordering::Less => Some(Outcome::SequenceTooLow { last: session.sequence }),
        Ordering::Equal => Some(Outcome::Applied(session.response)),
        Ordering::Greater => None,
    })
}

/// Remembers the response to a client's newest write.
pub(super) fn remember(
    txn: &mut Effects<'_, '_>,
    position: u64,
    id: &RequestId,
    response: Bytes,
) -> Result<(), StorageError> {
    let session = Session { sequence: id.sequence, response };
    let bytes =
        codec::encode(&session).map_err(|e| StorageError::corrupt(format!("encoding a session: {e}")))?;
    txn.put(&place::session(generation(position), &id.client_id), &bytes);
    Ok(())
}

fn find(
    txn: &mut Effects<'_, '_>,
    position: u64,
    client_id: &[u8; 16],
) -> Result<Option<Session>, StorageError> {
    let current = generation(position);
    for generation in [Some(current), current.checked_sub(1)].into_iter().flatten() {
        if let Some(bytes) = txn.get(&place::session(generation, client_id))? {
            let session = codec::decode(&bytes)
                .map_err(|e| StorageError::corrupt(format!("reading a session: {e}")))?;
            return Ok(Some(session));
        }
    }
    Ok(None)
}

/// Forgets sessions that no lookup can reach any more: takes the step that belongs to `position`,
/// if one does.
pub(super) fn sweep(txn: &mut Effects<'_, '_>, position: u64) -> Result<(), StorageError> {
    let oldest_live = generation(position).saturating_sub(1);
    if !position.is_multiple_of(STEP_EVERY_COMMANDS) || oldest_live == 0 {
        return Ok(());
    }
    let limit = ScanLimit { pairs: STEP_SESSIONS, bytes: STEP_BYTES };
    for (key, _) in limit.first_of(txn.scan(place::sessions_before(oldest_live)))? {
        txn.delete(&key);
    }
    Ok(())
}
