//! The operating system's files.

use std::any::Any;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::{Disk, ReadFile, WriteFile};

/// Files and directories of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn born(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path)?.created() {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
            created => Ok(nanoseconds_since_1970(created?)),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

/// `None` before 1970 and after 2554.
fn nanoseconds_since_1970(at: SystemTime) -> Option<u64> {
    u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// How many files this process may have open now.
pub(crate) fn max_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

impl WriteFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        // Blocks that count as not written read as zeros. Zeros that are written could be replaced with
        // less work for the file system, but cost as much again as what replaces them.
        let end = self.metadata()?.len();
        match retry_on_intr(|| fallocate(&*self, FallocateFlags::empty(), end, bytes)) {
            // Not on this file system: each write makes the file longer.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        // A changed length counts as data here: fdatasync writes the metadata needed to read it back.
        self.sync_data()
    }
}

impl ReadFile for File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_is_written_replaces_what_was_reserved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = RealDisk.create(&path).unwrap();
        file.write_all(b"one").unwrap();
        let reserved = 100_007;
        file.reserve(reserved as u64).unwrap();
        file.write_all(b"two").unwrap();
        file.reserve(1).unwrap();
        let mut wanted = b"onetwo".to_vec();
        wanted.resize(3 + reserved + 1, 0);
        assert!(fs::read(&path).unwrap() == wanted);
    }

    #[test]
    fn a_file_keeps_its_birth_time_and_a_copy_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let [path, renamed, copy] = ["file", "renamed", "copy"].map(|name| dir.path().join(name));
        RealDisk.create(&path).unwrap();
        assert_eq!(RealDisk.born(&copy).unwrap_err().kind(), io::ErrorKind::NotFound);
        let Some(born) = RealDisk.born(&path).unwrap() else {
            println!("SKIPPED: this file system does not say when a file was made");
            return;
        };
        fs::write(&path, "more").unwrap();
        fs::rename(&path, &renamed).unwrap();
        assert_eq!(RealDisk.born(&renamed).unwrap(), Some(born));
        let deadline = Instant::now() + Duration::from_secs(60);
        // The clock of a file system is coarse.
        loop {
            fs::copy(&renamed, &copy).unwrap();
            if RealDisk.born(&copy).unwrap() > Some(born) {
                break;
            }
            assert!(Instant::now() < deadline, "a copy that is as old as the original");
            fs::remove_file(&copy).unwrap();
        }
    }

    #[test]
    fn a_time_that_is_no_number_of_nanoseconds_is_none() {
        let second = Duration::from_secs(1);
        assert_eq!(nanoseconds_since_1970(UNIX_EPOCH + second), Some(1_000_000_000));
        assert_eq!(nanoseconds_since_1970(UNIX_EPOCH - second), None);
        assert_eq!(nanoseconds_since_1970(UNIX_EPOCH + Duration::from_secs(u64::MAX >> 2)), None);
    }

    #[test]
    fn the_limit_of_open_files_is_that_of_the_process() {
        let told = std::process::Command::new("sh").args(["-c", "ulimit -S -n"]).output().unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        assert_eq!(max_open_files(), told.trim().parse().unwrap_or(usize::MAX));
    }
}
