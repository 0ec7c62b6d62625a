//! What is in the state machine's database.

use std::path::Path;

use bytes::Bytes;

use super::PairCheck;
use super::contents::{Pairs, digest, frugal, overlay};
use super::findings::Findings;
use super::pages::each_page;
use super::report::{CheckedPairs, CheckedPosition, Progress};
use crate::engine::{EngineFactory, LevelDb};
use crate::options::Options;
use crate::state::{Position, StandardTypes, StateDirectory, key};

/// `None` if it cannot be read; then a problem says why.
pub(super) fn verify<C: StandardTypes>(
    findings: &mut Findings<'_>,
    dir: &Path,
    options: &Options,
    pair_check: PairCheck<'_>,
) -> Option<Pairs<C>> {
    let disk = overlay(findings);
    let active = StateDirectory::open(dir, disk.clone(), false).and_then(|directory| directory.active());
    let database = findings.opened(dir, active)?;
    let opened = LevelDb::new(disk, frugal(options.state_leveldb)).open(&database);
    let mut engine = findings.opened(&database, opened)?;
    let loaded = Position::<C>::load(engine.as_mut());
    let position = match findings.opened(&database, loaded)? {
        Ok(position) => position,
        Err(reason) => {
            findings.damaged(&database, reason);
            return None;
        }
    };
    if position.membership.log_id() > &position.applied {
        findings.damaged(&database, "its membership is newer than the last applied entry");
    }

    let applied = position.applied.as_ref().map(CheckedPosition::of::<C>);
    let mut checked = CheckedPairs { applied, ..CheckedPairs::default() };
    let mut pairs = Pairs { applied: position.applied.clone(), digest: 0 };
    let read = each_page(engine.as_mut(), |page| {
        for (key, value) in page {
            match key.split_first() {
                Some((&key::APPLICATION, key)) => {
                    pair(findings, &database, &mut checked, pair_check, key, value);
                    pairs.digest = digest(pairs.digest, key, value);
                }
                _ if [key::FORMAT, key::APPLIED, key::MEMBERSHIP].contains(&&**key) => {}
                _ => findings
                    .damaged(&database, format!("a record with the unknown key {}", key.escape_ascii())),
            }
        }
        findings.progress(Progress::Pairs(checked.pairs));
    });
    findings.opened(&database, read)?;
    if checked.applied.is_none() && checked.pairs > 0 {
        findings.damaged(&database, format!("{} pairs, but no entry was applied", checked.pairs));
    }
    findings.report().state = Some(checked);
    Some(pairs)
}

/// One pair of the application.
pub(super) fn pair(
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
    checked.pairs = checked.pairs.saturating_add(1);
    checked.bytes = checked.bytes.saturating_add(key.len() as u64).saturating_add(value.len() as u64);
}

/// A key for people: its beginning, printable.
fn shown(key: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    let start = key.get(..SHOWN_BYTES).map_or_else(|| Bytes::copy_from_slice(key), Bytes::copy_from_slice);
    let rest = if key.len() > SHOWN_BYTES { "…" } else { "" };
    format!("{}{rest} ({} bytes)", start.escape_ascii(), key.len())
}
