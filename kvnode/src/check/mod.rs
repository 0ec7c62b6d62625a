//! `kvnode check`: verifies the data directory of a node that is stopped, and changes nothing in
//! it.
//!
//! ```text
//! directory: lock and IDENTITY ─▶ storage_leveldb::check ─▶ outcome ─▶ text | json, and the exit code
//! ```

mod advice;
mod directory;
mod json;
mod outcome;
mod progress;
mod text;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use raftnode::check::check_storage;

use self::directory::StoppedNode;
use self::outcome::Outcome;
use self::progress::ProgressLine;
use crate::app::{KvApplication, StoredPairs};
use crate::config::ReportFormat;

/// Exit code if something is wrong with the directory.
const EXIT_PROBLEMS: u8 = 1;
/// Exit code if nothing can be said about it.
const EXIT_NOT_CHECKED: u8 = 2;

/// Checks `data_dir` and prints what was found; 0 only when all is well.
#[must_use]
pub fn run(data_dir: &Path, format: ReportFormat) -> ExitCode {
    let outcome = match examine(data_dir) {
        Ok(outcome) => outcome,
        Err(e) => {
            eprintln!("not checked: {e:#}");
            return ExitCode::from(EXIT_NOT_CHECKED);
        }
    };
    let shown = match format {
        ReportFormat::Text => text::of(&outcome),
        ReportFormat::Json => json::of(&outcome),
    };
    // A reader that has closed the pipe still gets the exit code.
    drop(std::io::stdout().lock().write_all(shown.as_bytes()));
    if outcome.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_PROBLEMS) }
}

/// # Errors
/// Why nothing can be said about the directory.
fn examine(data_dir: &Path) -> anyhow::Result<Outcome> {
    let node = StoppedNode::open(data_dir)?;
    let mut outcome = Outcome::of(&node);
    if let Some(storage) = node.storage() {
        let mut line = ProgressLine::default();
        let pairs = StoredPairs::default();
        let report = check_storage(&storage, node.has_stored, KvApplication, &pairs, &mut |progress| {
            line.show(progress)
        });
        line.clear();
        match report {
            Ok(report) => outcome.add(report),
            Err(e) if outcome.problems.is_empty() => return Err(e.into()),
            // What is known to be wrong is told, whatever else cannot be looked at.
            Err(e) => outcome.add_unreadable(storage, &e),
        }
    }
    Ok(outcome)
}
