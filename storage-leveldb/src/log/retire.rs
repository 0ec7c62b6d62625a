//! What becomes of segments that are not written any more. Called by the caretaker.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::key::{self, Mark};
use super::marks::start_record;
use super::segment::{FORMAT, Segment};
use super::segments::Segments;
use crate::disk::GuardedDisk;
use crate::engine::{EngineFactory, ScanLimit, latched};
use crate::error::StorageError;

/// Read at once.
const PAGE: ScanLimit = ScanLimit { pairs: 4096, bytes: 256 * 1024 };

/// The segments none of whose entries counts any more once everything before `purged_end` is gone.
/// Never the newest.
pub(super) fn is_purged(segments: &Segments, purged_end: u64) -> Vec<Arc<Segment>> {
    let mut covers = segments.covers();
    covers.pop();
    let gone = covers.into_iter().filter(|(_, range)| range.end <= purged_end || range.is_empty());
    gone.map(|(segment, _)| segment).collect()
}

/// Writes those `entries` of `old`, and the rest of their bundles, as a run, durably. `false`: it
/// was stopped before it was done.
pub(super) fn store_as_run(
    factory: &Arc<dyn EngineFactory>,
    disk: &GuardedDisk,
    dir: &Path,
    old: &Segment,
    entries: Range<u64>,
    is_stopped: &dyn Fn() -> bool,
) -> Result<bool, StorageError> {
    let mut writer = latched(disk, dir, factory.write_table(dir))?;
    let mut next = old.bundle_of(entries.start)?;
    loop {
        if is_stopped() {
            // The next start removes what has been written.
            return Ok(false);
        }
        let page = old.scan(&key::entries(next, entries.end), PAGE)?;
        for (key, record) in &page {
            latched(disk, dir, writer.push(key, record))?;
        }
        match page.last().and_then(|(key, _)| key::index_of(key)) {
            Some(last) => next = last.saturating_add(1),
            None => break,
        }
    }
    // Marks sort behind the entries.
    latched(disk, dir, writer.push(&Mark::Format.key(), &[FORMAT]))?;
    latched(disk, dir, writer.push(&Mark::Start.key(), &start_record(old.start())))?;
    latched(disk, dir, writer.finish())?;
    Ok(true)
}
