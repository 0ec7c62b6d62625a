//! Verifies a storage directory that no process has open, and changes nothing in it.
//!
//! ```text
//! layout ─▶ plan of files ─▶ files: every frame, every page          (on the disk itself)
//!    └ leveldb ─ manifest ─ records: which files count
//! contents ─▶ log, state, and whether they fit together              (on an overlay: LevelDB writes when it opens)
//!    └▶ start: what a start would say
//! ```
//!
//! All findings go to one [`Report`]. What is wrong with one file never keeps the others from being
//! looked at; the contents are looked at only when all files are sound, because they cannot be told
//! from damaged ones.

mod contents;
mod files;
mod findings;
mod layout;
mod leveldb;
mod log;
mod report;
mod state;

use std::any::Any;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

pub use report::{CheckedLog, CheckedPairs, CheckedPosition, Note, Problem, ProblemKind, Progress, Report};

use self::findings::Findings;
use crate::disk::Disk;
use crate::error::StorageError;
use crate::health::Fault;
use crate::lsm::merge_operator::MergeFunction;
use crate::options::Options;
use crate::raft::{Application, StandardTypes, merge_function};

/// Says what is wrong with one pair of the application, if anything is. Gets the log index up to
/// which the pairs were applied, the key and the value.
pub type PairCheck<'a> = &'a dyn Fn(u64, &[u8], &[u8]) -> Result<(), String>;

/// What is asked about pairs.
struct CheckedApplication<'a> {
    merge: MergeFunction,
    pair_check: PairCheck<'a>,
}

/// Verifies the storage directory `dir`: every file, and then what is in them. Blocks for as long
/// as reading everything takes.
///
/// `options` are those the directory is opened with; only LevelDB can be checked. `application` is
/// asked for what was merged, `pair_check` looks at every pair of the state machine. `progress` is
/// called now and then.
///
/// # Errors
/// [`StorageError::Busy`] if a process has the directory open, a fault if there is no such
/// directory or it cannot be listed. Whatever is wrong inside it goes to the report.
pub fn check<C: StandardTypes, A: Application<C>>(
    dir: &Path,
    options: Options,
    application: A,
    pair_check: PairCheck<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, StorageError> {
    let _lock = lock(options.disk.as_ref(), dir)?;
    let mut findings = Findings::new(options.disk.clone(), progress);
    let plan = layout::plan(&mut findings, dir);
    files::verify(&mut findings, plan.files);
    if findings.is_sound() {
        let merge = merge_function::<C, A>(&Arc::new(application));
        let application = CheckedApplication { merge, pair_check };
        contents::verify::<C>(&mut findings, dir, plan.is_complete, &options, &application);
    }
    Ok(findings.into_report())
}

/// Keeps other processes out, where there can be any. Creates nothing.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<Option<Box<dyn Any + Send + Sync>>, StorageError> {
    disk.list(dir).map_err(|e| Fault::io("list", dir, e))?;
    let path = dir.join("LOCK");
    match disk.len(&path).and_then(|_| disk.lock(&path)) {
        Ok(lock) => Ok(Some(lock)),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Err(StorageError::Busy(dir.to_owned())),
        // It was never opened, or cannot be: it is a copy, or on a disk that may only be
        // read.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ReadOnlyFilesystem) => Ok(None),
        Err(e) => Err(Fault::io("lock", path, e).into()),
    }
}
