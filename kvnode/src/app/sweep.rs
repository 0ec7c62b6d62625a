//! Forgets sessions that no lookup can reach any more, a bounded step at a time.

use storage_leveldb::{ScanLimit, StorageError, Transaction};

use super::{keys, session};

/// A step is taken at every log index divisible by this.
const STEP_EVERY_ENTRIES: u64 = 256;
/// Most sessions deleted in one step: four times as many as can be written between two steps, so
/// the sweep always wins.
const STEP_SESSIONS: usize = 1024;
/// Most bytes read in one step.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// Takes the step that belongs to `index`, if one does.
pub(crate) fn step(txn: &mut Transaction<'_>, index: u64) -> Result<(), StorageError> {
    let oldest_live = session::generation(index).saturating_sub(1);
    if !index.is_multiple_of(STEP_EVERY_ENTRIES) || oldest_live == 0 {
        return Ok(());
    }
    let limit = ScanLimit { pairs: STEP_SESSIONS, bytes: STEP_BYTES };
    for (key, _) in txn.scan(keys::sessions_before(oldest_live), limit)? {
        txn.delete(&key);
    }
    Ok(())
}
