//! Where everything that a check finds goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::{Note, Problem, Progress, Report};
use crate::disk::{Disk, GuardedDisk, OverlayDisk};
use crate::engine::LevelDbOptions;
use crate::error::StorageError;
use crate::health::{Fault, FaultKind};
use crate::observer::Silent;

/// More are counted and not kept.
const MAX_PROBLEMS: usize = 1000;
const MAX_NOTES: usize = 1000;

/// What opening a database may change in memory: its recovery writes the logs' pairs into tables
/// and compacts once.
pub(super) const MAX_CHANGED_BYTES: u64 = 256 << 20;

/// The engine counts blocks of 4 KiB here, whatever they hold: a value of 1 MiB is one block.
/// Everything is read once, so there is nothing to keep.
const BLOCK_CACHE_BYTES: usize = 16 * 4096;

/// The same database, opened to be read once from end to end.
pub(super) fn frugal(options: LevelDbOptions) -> LevelDbOptions {
    LevelDbOptions { block_cache_bytes: BLOCK_CACHE_BYTES, ..options }
}

/// The report as it grows, and the disk that it is about.
pub(super) struct Findings<'a> {
    disk: Arc<dyn Disk>,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Findings<'a> {
    pub(super) fn new(disk: Arc<dyn Disk>, progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self { disk, report: Report::default(), progress }
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        if self.report.problems.contains(&problem) {
            return;
        }
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(problem);
        } else {
            self.report.more_problems += 1;
        }
    }

    pub(super) fn damaged(&mut self, path: &Path, reason: impl ToString) {
        self.problem(Problem::damaged(path, reason));
    }

    /// Notes a failure; answers what was there if there was none.
    pub(super) fn sound<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.problem(Problem::of(&fault))).ok()
    }

    /// The same for the errors of the crate.
    pub(super) fn opened<T>(&mut self, dir: &Path, result: Result<T, StorageError>) -> Option<T> {
        let fault = |e| match e {
            StorageError::Fault(fault) => fault,
            other => Fault::new(FaultKind::Io, dir, other),
        };
        self.sound(result.map_err(fault))
    }

    pub(super) fn note(&mut self, path: &Path, text: impl ToString) {
        if self.report.notes.len() < MAX_NOTES {
            self.report.notes.push(Note { path: path.to_owned(), text: text.to_string() });
        } else {
            self.report.more_notes += 1;
        }
    }

    pub(super) fn left_over(&mut self, path: &Path) {
        let text = "left over from something that was interrupted; the next start removes or replaces it";
        self.note(path, text);
    }

    pub(super) fn unknown(&mut self, path: &Path) {
        self.note(path, "does not belong here; not looked at, and a start leaves it alone");
    }

    /// The names in a directory in order; none if there is no such directory.
    pub(super) fn names(&mut self, dir: &Path) -> Vec<PathBuf> {
        let listed = self.guarded().list(dir);
        let mut names = self.sound(listed).unwrap_or_default();
        names.sort();
        names
    }

    pub(super) fn progress(&mut self, progress: Progress) {
        (self.progress)(progress);
    }

    /// A file was read to its end.
    pub(super) fn file_read(&mut self, bytes: u64) {
        self.report.files += 1;
        self.report.bytes += bytes;
    }

    pub(super) fn is_sound(&self) -> bool {
        self.report.is_well()
    }

    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    pub(super) fn into_report(self) -> Report {
        self.report
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    /// The disk as it was, for an engine that writes.
    pub(super) fn overlay(&self) -> GuardedDisk {
        guarded(Arc::new(OverlayDisk::new(self.disk(), MAX_CHANGED_BYTES)))
    }

    /// The disk behind a latch of its own, so that one damaged file does not keep the others from
    /// being read.
    pub(super) fn guarded(&self) -> GuardedDisk {
        guarded(self.disk())
    }
}

/// A disk behind a latch of its own.
fn guarded(disk: Arc<dyn Disk>) -> GuardedDisk {
    GuardedDisk::new(disk, Arc::new(Silent), Arc::new(()))
}
