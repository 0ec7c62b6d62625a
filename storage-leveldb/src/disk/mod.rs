//! The file environment: everything this crate asks of a disk.
//!
//! Two real implementations: [`RealDisk`] for the operating system's files, and the simulated disk of
//! the `testing` feature, which loses, tears and refuses writes. Nothing above this module touches
//! `std::fs`.

mod calls;
mod guarded;
mod overlay;
mod real;

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use calls::Calls;
pub use calls::PendingCall;
pub(crate) use guarded::{GuardedDisk, GuardedFile, time_syncing};
pub(crate) use overlay::OverlayDisk;
pub use real::RealDisk;
pub(crate) use real::max_open_files;

/// A disk with the durability rules of POSIX: nothing survives a power failure before it is synced, and
/// the name of a file is synced apart from its content, with its directory.
pub trait Disk: Send + Sync + 'static {
    /// Creates an empty file for writing, replacing what had the name.
    ///
    /// # Errors
    /// The operating system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, else the operating system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Gives a file another name in the same directory, replacing what had that name.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, else the operating system's.
    fn delete(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it.
    ///
    /// # Errors
    /// The operating system's; an existing directory is none.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all in it.
    ///
    /// # Errors
    /// The operating system's; a missing directory is none.
    fn delete_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the creations, renames and deletions in a directory durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, else the operating system's.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// A file's length in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none, else the operating system's.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// When the file system made a file, in nanoseconds since 1970. A file keeps it when it is
    /// written to or renamed; a copy of it has another. `None`: this disk does not say.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such file, else the operating system's.
    fn born(&self, _path: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Takes an exclusive lock, held until the answer is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// A file being written from its start.
pub trait WriteFile: Send + Sync {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// The operating system's; then any part of `bytes` may have been written.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file longer by so many zeros, which are not synced and need not be written. Later writes go where they
    /// would have gone without them, and replace them. A write that makes no file longer can be synced sooner. A disk
    /// need not do anything.
    ///
    /// # Errors
    /// The operating system's; then the file may be longer by less.
    fn reserve(&mut self, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The operating system's; then what is durable is unknown, also after a later success.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
#[allow(clippy::len_without_is_empty, reason = "a file is not a collection")]
pub trait ReadFile: Send + Sync {
    /// Fills `buf` from `offset` as far as the file goes; answers how many bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn len(&self) -> io::Result<u64>;
}

/// Creates a directory; durable when it returns, and so are the directories above it that were missing.
///
/// # Errors
/// The disk's.
pub(crate) fn create_dir_durably(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
        match disk.list(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(dir),
            other => {
                other?;
                break;
            }
        }
    }
    disk.create_dir(path)?;
    // Also if it was there: whoever created it may not have come to this.
    disk.sync_dir(parent_of(path))?;
    missing.into_iter().skip(1).try_for_each(|dir| disk.sync_dir(parent_of(dir)))
}

/// The directory that `path` is a name in.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Fills `buf` from `offset`. Within a file's length nothing may be missing: whoever takes less for the end of the
/// file loses what is behind it.
///
/// # Errors
/// The disk's, and [`io::ErrorKind::UnexpectedEof`] for fewer bytes.
pub(crate) fn read_exactly(file: &dyn ReadFile, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let read = file.read_at(offset, buf)?;
    if read == buf.len() {
        return Ok(());
    }
    let text = format!("{read} bytes where there should be {}", buf.len());
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
}

/// Reads a whole file of at most `limit_bytes`.
///
/// # Errors
/// The disk's, and [`io::ErrorKind::InvalidData`] for a larger file.
pub(crate) fn read_all(file: &dyn ReadFile, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > limit_bytes {
        let text = format!("{len} bytes long; at most {limit_bytes} can be right");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    read_exactly(file, 0, &mut bytes)?;
    Ok(bytes)
}
