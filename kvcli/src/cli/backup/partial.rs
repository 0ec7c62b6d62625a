//! A file that is whole or is not there: written beside its place, and put there at the end.

use std::ffi::OsString;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::exit::Problem;

/// A backup is everything that is stored: for its owner alone.
const MODE: u32 = 0o600;
const SUFFIX: &str = ".partial";

/// Invariant: this process alone writes the file at `path`, which is removed unless it is put in
/// its place. One that a kill has left behind is used again.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    place: PathBuf,
    is_placed: bool,
}

impl Partial {
    pub(super) fn create(place: &Path) -> Result<Self, Problem> {
        let Some(name) = place.file_name() else {
            return Err(Problem::BadArguments(format!("{} names no file", place.display())));
        };
        let mut name: OsString = name.to_owned();
        name.push(SUFFIX);
        let path = place.with_file_name(name);
        let failed = |source| Problem::File { action: "write", path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).mode(MODE).open(&path);
        let file = file.map_err(failed)?;
        let is_ours = match file.try_lock() {
            // Another process may have put it in its place meanwhile, and let go of it.
            Ok(()) => is_at(&file, &path),
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        };
        if !is_ours {
            let (path, place) = (path.display(), place.display());
            return Err(Problem::BadArguments(format!("{path} is in use: another process saves to {place}")));
        }
        // One that was left behind may have another mode.
        file.set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        Ok(Self { file, path, place: place.to_owned(), is_placed: false })
    }

    /// Where it is for now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).map_err(|source| self.failed("write", source))
    }

    /// What was written outlives a power failure when this returns, though not under its name.
    pub(super) fn sync(&self) -> Result<(), Problem> {
        self.file.sync_all().map_err(|source| self.failed("sync", source))
    }

    /// Puts the file in its place, in the place of one that is there; durable when it returns. To
    /// be called after [`sync`](Self::sync).
    pub(super) fn place(mut self) -> Result<(), Problem> {
        fs::rename(&self.path, &self.place).map_err(|source| self.failed("rename", source))?;
        self.is_placed = true;
        let dir = self.place.parent().filter(|dir| !dir.as_os_str().is_empty());
        let synced = File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
        synced.map_err(|source| self.failed("sync the directory of", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Problem {
        Problem::File { action, path: self.path.clone(), source }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_placed {
            // Nothing is lost if it stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: io::Result<fs::Metadata>| metadata.ok().map(|it| (it.dev(), it.ino()));
    let own = place(file.metadata());
    own.is_some() && own == place(fs::metadata(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.backup");
        let there = || fs::read_dir(dir.path()).unwrap().count();
        let mut given_up = Partial::create(&place).unwrap();
        given_up.write(b"some").unwrap();
        drop(given_up);
        assert_eq!(there(), 0);
        // What a kill leaves. Found: a file of another mode kept it, and let everyone read.
        fs::write(dir.path().join("a.backup.partial"), "of an earlier one, and longer").unwrap();
        let mut partial = Partial::create(&place).unwrap();
        partial.write(b"all").unwrap();
        let error = Partial::create(&place).map(drop).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        partial.sync().unwrap();
        partial.place().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"all");
        assert_eq!((there(), fs::metadata(&place).unwrap().mode() & 0o777), (1, MODE));
        let mut next = Partial::create(&place).unwrap();
        next.write(b"other").unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"all");
        next.place().unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"other");
    }
}
