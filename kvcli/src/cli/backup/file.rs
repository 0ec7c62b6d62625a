//! A backup that is on the disk.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use proto::backup::{BackupError, BackupReader};

use crate::exit::Problem;

/// Read so much at a time.
const READ_BYTES: usize = 1024 * 1024;

/// A backup's header, and its length.
pub(super) fn open(path: &Path) -> Result<(BackupReader<BufReader<File>>, u64), Problem> {
    let open = || -> Result<_, BackupError> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok((BackupReader::open(BufReader::with_capacity(READ_BYTES, file))?, bytes))
    };
    open().map_err(|error| problem(path, error))
}

/// What to say of a file that is not what it should be.
pub(super) fn problem(path: &Path, error: BackupError) -> Problem {
    Problem::Backup { path: path.to_owned(), error }
}
