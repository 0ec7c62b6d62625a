//! Looks at what is in the files, and whether log and state fit together.
//!
//! Every database is opened on an overlay of its own: LevelDB's recovery writes, and the directory
//! must stay as it is.

use std::path::Path;
use std::sync::Arc;

use super::findings::{Findings, MAX_CHANGED_BYTES, frugal};
use super::log::CheckLog;
use super::report::ProblemKind;
use super::{CheckedApplication, state};
use crate::disk::OverlayDisk;
use crate::options::Options;
use crate::raft::StandardTypes;
use crate::storage::OpenedParts;

pub(super) fn verify<C: StandardTypes>(
    findings: &mut Findings<'_>,
    dir: &Path,
    is_complete: bool,
    options: &Options,
    application: &CheckedApplication<'_>,
) {
    start::<C>(findings, dir, options, application);
    let unknown_format = |kind| kind == ProblemKind::OtherFormat;
    if !is_complete || findings.report().problems.iter().any(|problem| unknown_format(problem.kind)) {
        return;
    }
    let mut log = CheckLog::<C>::read(findings, &dir.join("log"), options);
    let state = state::verify::<C>(findings, &dir.join("state"), options, application);
    let (Some(log), Some(applied)) = (&mut log, &state) else { return };
    log.fits(findings, applied.as_ref());
}

/// What a start would say.
fn start<C: StandardTypes>(
    findings: &mut Findings<'_>,
    dir: &Path,
    options: &Options,
    application: &CheckedApplication<'_>,
) {
    let disk = Arc::new(OverlayDisk::new(findings.disk(), MAX_CHANGED_BYTES));
    let log_leveldb = frugal(options.log_leveldb);
    let options = Options { disk, engine: None, log_leveldb, ..options.clone() };
    let opened = OpenedParts::<C>::open(dir, options, application.merge.clone());
    findings.opened(dir, opened.map(drop));
}
