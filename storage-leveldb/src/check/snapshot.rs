//! What is in the snapshot that counts.

use std::path::Path;

use openraft::RaftTypeConfig;

use super::PairCheck;
use super::contents::{Pairs, digest, overlay};
use super::findings::Findings;
use super::report::{CheckedPairs, CheckedPosition, Progress};
use super::state::pair;
use crate::snapshot::{SnapshotDirectory, SnapshotError, SnapshotReader};
use crate::state::StandardTypes;

/// Between two reports of progress.
const PROGRESS_PAIRS: u64 = 4096;

/// `None` if it cannot be read, and then a problem says why; `Some(None)` if there is none.
pub(super) fn verify<C: StandardTypes>(
    findings: &mut Findings<'_>,
    dir: &Path,
    pair_check: PairCheck<'_>,
) -> Option<Option<Pairs<C>>> {
    let directory = SnapshotDirectory::open(dir, overlay(findings), false);
    let directory = findings.opened(dir, directory)?;
    let current = directory.current::<C>();
    let Some(current) = findings.opened(dir, current)? else { return Some(None) };
    let path = current.snapshot.path().to_owned();
    let read = directory.read::<C>(&current.snapshot).and_then(|mut reader| {
        let meta = reader.meta().clone();
        if meta.last_membership.log_id() > &meta.last_log_id {
            findings.damaged(&path, "its membership is newer than its last entry");
        }
        let applied = meta.last_log_id.as_ref().map(CheckedPosition::of::<C>);
        let mut checked = CheckedPairs { applied, ..CheckedPairs::default() };
        let digest = all_pairs(findings, &path, &mut reader, &mut checked, pair_check)?;
        findings.report().snapshot = Some(checked);
        Ok(Pairs { applied: meta.last_log_id, digest })
    });
    match read {
        Ok(pairs) => Some(Some(pairs)),
        Err(SnapshotError::Storage(e)) => {
            findings.opened::<()>(&path, Err(e));
            None
        }
        Err(SnapshotError::Damaged(e)) => {
            findings.damaged(&path, e);
            None
        }
        Err(e @ SnapshotError::OtherMeta) => {
            findings.damaged(&path, e);
            None
        }
    }
}

/// Every pair; answers their digest.
fn all_pairs<C: RaftTypeConfig>(
    findings: &mut Findings<'_>,
    path: &Path,
    reader: &mut SnapshotReader<C>,
    checked: &mut CheckedPairs,
    pair_check: PairCheck<'_>,
) -> Result<u32, SnapshotError> {
    let mut sum = 0;
    while let Some((key, value)) = reader.next_pair()? {
        pair(findings, path, checked, pair_check, &key, &value);
        sum = digest(sum, &key, &value);
        if checked.pairs.is_multiple_of(PROGRESS_PAIRS) {
            findings.progress(Progress::SnapshotPairs(checked.pairs));
        }
    }
    Ok(sum)
}
