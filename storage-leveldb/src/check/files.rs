//! Reads every byte of the files that count.

use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::report::Progress;
use crate::engine::leveldb_records::Records;
use crate::file::framed_reader::{Tail, read_stream};
use crate::file::paged;
use crate::health::Fault;

/// What a file is, and so what must be right in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// LevelDB's `.log`.
    Log(Tail),
    /// LevelDB's table.
    Table,
}

/// A file to be read.
pub(super) struct PlannedFile {
    path: PathBuf,
    what: What,
    bytes: u64,
}

impl PlannedFile {
    pub(super) fn new(findings: &Findings<'_>, path: PathBuf, what: What) -> Self {
        let bytes = findings.disk().len(&path).unwrap_or(0);
        Self { path, what, bytes }
    }
}

/// Reads them all; one that is damaged keeps no other from being read.
pub(super) fn verify(findings: &mut Findings<'_>, planned: Vec<PlannedFile>) {
    let of_bytes = planned.iter().map(|file| file.bytes).sum();
    let of_files = planned.len() as u64;
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for file in planned {
        let mut read = 0_u64;
        let mut progress = |findings: &mut Findings<'_>, more: u64| {
            read += more;
            findings.progress(Progress::Files { files, of_files, bytes: bytes + read, of_bytes });
        };
        progress(findings, 0);
        let result = match file.what {
            What::Log(tail) => log(findings, &file.path, tail),
            What::Table => table(findings, &file.path, &mut progress),
        };
        if findings.sound(result).is_some() {
            findings.file_read(file.bytes);
        }
        files += 1;
        bytes += file.bytes;
        findings.progress(Progress::Files { files, of_files, bytes, of_bytes });
    }
}

/// The frames, and LevelDB's own records in them: it would take a bad one for the end.
fn log(findings: &Findings<'_>, path: &Path, tail: Tail) -> Result<(), Fault> {
    let stream =
        read_stream(&findings.guarded(), path, tail)?.ok_or_else(|| Fault::corrupt(path, "missing"))?;
    Records::of(&stream)
        .try_for_each(|record| record.map(drop))
        .map_err(|reason| Fault::corrupt(path, reason))
}

fn table(
    findings: &mut Findings<'_>,
    path: &Path,
    progress: &mut dyn FnMut(&mut Findings<'_>, u64),
) -> Result<(), Fault> {
    let file = findings.guarded().open(path)?.ok_or_else(|| Fault::corrupt(path, "missing"))?;
    paged::verify(file.as_ref(), path, &mut |read| progress(findings, read))
}
