//! Looks at what is in the files, and whether log, state and snapshot fit together.
//!
//! Every database is opened on an overlay of its own: LevelDB's recovery writes, and the directory must stay as it is.

use std::path::Path;
use std::sync::Arc;

use openraft::type_config::alias::LogIdOf;

use super::findings::{Findings, guarded};
use super::log::CheckLog;
use super::report::ProblemKind;
use super::{PairCheck, snapshot, state};
use crate::disk::{GuardedDisk, OverlayDisk};
use crate::engine::LevelDbOptions;
use crate::options::Options;
use crate::state::{Application, StandardTypes};
use crate::storage::Storage;

/// What opening a database may change in memory: its recovery writes the logs' pairs into tables and compacts once.
const MAX_CHANGED_BYTES: u64 = 256 << 20;

/// The engine counts blocks of 4 KiB here, whatever they hold: a value of 1 MiB is one block. Everything is read once,
/// so there is nothing to keep.
const BLOCK_CACHE_BYTES: usize = 16 * 4096;

/// The same database, opened to be read once from end to end.
pub(super) fn frugal(options: LevelDbOptions) -> LevelDbOptions {
    LevelDbOptions { block_cache_bytes: BLOCK_CACHE_BYTES, ..options }
}

/// The disk as it was, for somebody who writes.
pub(super) fn overlay(findings: &Findings<'_>) -> GuardedDisk {
    guarded(Arc::new(OverlayDisk::new(findings.disk(), MAX_CHANGED_BYTES)))
}

pub(super) fn verify<C: StandardTypes, A: Application<C>>(
    findings: &mut Findings<'_>,
    dir: &Path,
    is_complete: bool,
    application: A,
    options: &Options,
    pair_check: PairCheck<'_>,
) {
    start::<C, A>(findings, dir, application, options);
    let unknown_format = |kind| kind == ProblemKind::OtherFormat;
    if !is_complete || findings.report().problems.iter().any(|problem| unknown_format(problem.kind)) {
        return;
    }
    let mut log = CheckLog::<C>::read(findings, &dir.join("log"), options);
    let state = state::verify::<C>(findings, &dir.join("state"), options, pair_check);
    let snapshot = snapshot::verify::<C>(findings, &dir.join("snapshot"), pair_check);
    let (Some(log), Some(state), Some(snapshot)) = (&mut log, &state, &snapshot) else { return };
    let applied = state.applied.as_ref();
    let snapshot_end = snapshot.as_ref().and_then(|snapshot| snapshot.applied.as_ref());
    log.fits(findings, applied, snapshot_end);
    if let Some(snapshot) = snapshot.as_ref().filter(|snapshot| snapshot.applied.as_ref() == applied)
        && snapshot.digest != state.digest
    {
        let reason = format!(
            "state and snapshot are both at {}, but their pairs differ",
            applied.map_or_else(|| "the start".to_owned(), ToString::to_string)
        );
        findings.damaged(&dir.join("state"), reason);
    }
}

/// What a start would say.
fn start<C: StandardTypes, A: Application<C>>(
    findings: &mut Findings<'_>,
    dir: &Path,
    application: A,
    options: &Options,
) {
    let disk = Arc::new(OverlayDisk::new(findings.disk(), MAX_CHANGED_BYTES));
    let (log_leveldb, state_leveldb) = (frugal(options.log_leveldb), frugal(options.state_leveldb));
    let options = Options { disk, engine: None, log_leveldb, state_leveldb, ..options.clone() };
    let opened = Storage::<C, A>::open_blocking(dir.to_owned(), application, options);
    findings.opened(dir, opened.map(drop));
}

/// Pairs of an application, all of them read.
pub(super) struct Pairs<C: StandardTypes> {
    pub(super) applied: Option<LogIdOf<C>>,
    /// The same for the same pairs.
    pub(super) digest: u32,
}

/// Adds a pair to a digest.
pub(super) fn digest(before: u32, key: &[u8], value: &[u8]) -> u32 {
    let lengths = [(key.len() as u64).to_le_bytes(), (value.len() as u64).to_le_bytes()].concat();
    let with_key = crc32c::crc32c_append(crc32c::crc32c_append(before, &lengths), key);
    crc32c::crc32c_append(with_key, value)
}
