//! Writes what counts of a segment as a table: for a segment that is not written any more.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::hard_state::start_record;
use super::key::{self, MetaKey};
use super::segment::{FORMAT, Segment};
use crate::disk::GuardedDisk;
use crate::engine::{EngineFactory, latched};
use crate::error::StorageError;
use crate::scan::ScanLimit;

/// Read at once.
const PAGE: ScanLimit = ScanLimit { pairs: 4096, bytes: 256 * 1024 };

/// Writes those `entries` of `old`, and the rest of their blocks, as a table, durably. `false`: it
/// was stopped before it was done.
pub(super) fn write_table(
    factory: &Arc<dyn EngineFactory>,
    disk: &GuardedDisk,
    dir: &Path,
    old: &Segment,
    entries: Range<u64>,
    is_stopped: &dyn Fn() -> bool,
) -> Result<bool, StorageError> {
    let mut writer = latched(disk, dir, factory.write_table(dir))?;
    let mut next = old.block_of(entries.start)?;
    loop {
        if is_stopped() {
            // The next start removes what has been written.
            return Ok(false);
        }
        let page = old.scan(&key::entries(next, entries.end), PAGE)?;
        for (key, record) in &page {
            latched(disk, dir, writer.push(key, record))?;
        }
        let Some((last, _)) = page.last() else { break };
        next = old.index_of(last)? + 1;
    }
    // These sort behind the entries.
    latched(disk, dir, writer.push(&MetaKey::Format.key(), &[FORMAT]))?;
    latched(disk, dir, writer.push(&MetaKey::Start.key(), &start_record(old.start())))?;
    latched(disk, dir, writer.finish())?;
    Ok(true)
}
