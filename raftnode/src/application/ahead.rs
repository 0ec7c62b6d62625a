//! Moving a state ahead of all that clients may have seen of a history that is lost.
//!
//! A state that goes on as a new cluster lacks the end of the old one's history. What that end has
//! counted must not be counted again with other content. So the position moves ahead, and the
//! application moves its own counters. Sessions are kept, under the generations that correspond: a
//! write that the state has is still applied once, and one that it lacks is applied when its
//! client repeats it.

use storage_leveldb::scan::ScanLimit;
use storage_leveldb::{StorageError, Transaction};

use super::hosted::{Host, meta_of};
use super::place::{self, Meta, Place};
use super::session::{GENERATION_COMMANDS, generation};

/// Generations of sessions that are skipped.
const AHEAD_GENERATIONS: u64 = 4096;
/// How far positions move ahead: more than a cluster applies between the backup and its end. Some
/// 10^9.
pub(crate) const AHEAD: u64 = AHEAD_GENERATIONS * GENERATION_COMMANDS;
/// Most sessions moved in one step.
const STEP_SESSIONS: usize = 4096;
/// Most bytes of them.
const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Takes one step; answers whether it was the last.
pub(crate) fn move_ahead(txn: &mut Transaction<'_>, host: &dyn Host) -> Result<bool, StorageError> {
    let mut meta = meta_of(txn.get(&Meta::KEY)?.as_deref())?;
    let present = generation(meta.position);
    let too_far = || StorageError::corrupt(format!("position {} is the last that can be", meta.position));
    let later = meta.position.checked_add(AHEAD).ok_or_else(too_far)?;
    let limit = ScanLimit { pairs: STEP_SESSIONS, bytes: STEP_BYTES };
    let sessions = limit.first_of(txn.scan(place::sessions_before(present + 1)))?;
    if !sessions.is_empty() {
        for (key, value) in sessions {
            // What is older is not looked up any more.
            if let Some(Place::Session(of)) = Place::of(&key)
                && of + 1 >= present
            {
                txn.put(&place::in_generation(&key, of + AHEAD_GENERATIONS), &value);
            }
            txn.delete(&key);
        }
        return Ok(false);
    }
    host.restored(txn, AHEAD)?;
    meta.position = later;
    txn.put(&Meta::KEY, &meta.encode());
    Ok(true)
}
