//! What is in the state machine's tables.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::type_config::alias::LogIdOf;

use super::findings::Findings;
use super::report::{CheckedPairs, CheckedPosition, Progress};
use super::{CheckedApplication, PairCheck};
use crate::engine::LevelDb;
use crate::error::StorageError;
use crate::lsm::key;
use crate::lsm::tree::LsmTree;
use crate::options::Options;
use crate::raft::StandardTypes;
use crate::raft::position::Position;
use crate::scan::KeyRange;

/// Between two reports of progress.
const PROGRESS_PAIRS: u64 = 4096;

/// The last applied entry, if any. `None` if the state cannot be read; then a problem says why.
pub(super) fn verify<C: StandardTypes>(
    findings: &mut Findings<'_>,
    dir: &Path,
    options: &Options,
    application: &CheckedApplication<'_>,
) -> Option<Option<LogIdOf<C>>> {
    let disk = findings.overlay();
    let factory = Arc::new(LevelDb::new(disk.clone(), options.state_leveldb()));
    let opened = LsmTree::open(dir, disk, factory, options.memtable_bytes, application.merge.clone(), false);
    let tree = findings.opened(dir, opened)?;
    let position = findings.sound(Position::<C>::durable(&tree))?;
    if position.membership.log_id() > &position.applied {
        findings.damaged(dir, "its membership is newer than the last applied entry");
    }
    let applied = position.applied.as_ref().map(CheckedPosition::of::<C>);
    let mut checked = CheckedPairs { applied, ..CheckedPairs::default() };
    let read = all_pairs(findings, dir, &tree, &mut checked, application.pair_check);
    findings.opened(dir, read)?;
    if checked.applied.is_none() && checked.pairs > 0 {
        findings.damaged(dir, format!("{} pairs, but no entry was applied", checked.pairs));
    }
    findings.report().state = Some(checked);
    Some(position.applied)
}

fn all_pairs(
    findings: &mut Findings<'_>,
    dir: &Path,
    tree: &LsmTree,
    checked: &mut CheckedPairs,
    pair_check: PairCheck<'_>,
) -> Result<(), StorageError> {
    for found in tree.pin().pairs(&KeyRange::all(), usize::MAX) {
        let (key, value) = found?;
        match key.split_first() {
            Some((&key::APPLICATION, key)) => pair(findings, dir, checked, pair_check, key, &value),
            _ => findings.damaged(dir, format!("a record with the unknown key {}", key.escape_ascii())),
        }
        if checked.pairs.is_multiple_of(PROGRESS_PAIRS) {
            findings.progress(Progress::Pairs(checked.pairs));
        }
    }
    findings.progress(Progress::Pairs(checked.pairs));
    Ok(())
}

/// One pair of the application.
fn pair(
    findings: &mut Findings<'_>,
    path: &Path,
    checked: &mut CheckedPairs,
    pair_check: PairCheck<'_>,
    key: &[u8],
    value: &[u8],
) {
    let applied_index = checked.applied.as_ref().map_or(0, |applied| applied.index);
    if let Err(reason) = pair_check(applied_index, key, value) {
        findings.damaged(path, format!("the pair with key {}: {reason}", shown(key)));
    }
    checked.pairs += 1;
    checked.bytes += (key.len() + value.len()) as u64;
}

/// A key for people: its beginning, printable.
fn shown(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    let start = key.get(..SHOWN_BYTES).map_or_else(|| Bytes::copy_from_slice(key), Bytes::copy_from_slice);
    let rest = if key.len() > SHOWN_BYTES { "…" } else { "" };
    format!("{}{rest} ({} bytes)", start.escape_ascii(), key.len())
}
