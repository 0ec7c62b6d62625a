//! The environment that rusty-leveldb lacks.
//!
//! Every file LevelDB touches goes through here. What this adds:
//! - `flush` on a file is an `fdatasync`; a file's name is durable with its first sync;
//! - tables are complete and durable before LevelDB can name them in MANIFEST (LevelDB ends a
//!   table with `flush`), and an old log is durable before the next one gets a record (it is
//!   synced when dropped);
//! - CURRENT is replaced by write, sync, rename and directory sync, and only when it changes;
//! - every byte is under a checksum that is verified when it is read, and how much of each log is
//!   durable is written down beside it (see [`crate::file`]);
//! - a file that LevelDB asks for is there, or it is a fault;
//! - the first failure latches, and nothing reaches the disk after it.
//!
//! For a [run](super::run) it does less: nothing in the directory counts before CURRENT is there,
//! which is put there when all else is durable. Until then CURRENT stays in memory, MANIFEST and
//! the names of tables are not synced, and of the logs, which nobody will ever read, nothing is
//! written at all.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use rusty_leveldb::env::{Env, FileLock, Logger, RandomAccess};
use rusty_leveldb::{Result, Status, StatusCode, infolog};

use super::file_kind::FileKind;
use crate::disk::GuardedDisk;
use crate::file::framed::FramedWriter;
use crate::file::framed_reader::{Tail, read_stream};
use crate::file::marker;
use crate::file::paged::{PagedReader, PagedWriter};
use crate::file::witness::{Claim, Witness};
use crate::health::Fault;

/// LevelDB's own log messages say nothing that faults and metrics do not.
pub(super) fn silent_log() -> Rc<RefCell<infolog::Logger>> {
    Rc::new(RefCell::new(infolog::Logger(Box::new(io::sink()))))
}

fn status(fault: Fault) -> Status {
    Status::new(StatusCode::IOError, &fault.to_string())
}

fn io_error(fault: Fault) -> io::Error {
    io::Error::other(fault)
}

type Content = Rc<RefCell<Vec<u8>>>;
/// Counts the files that have come or gone.
pub(super) type FileChanges = Rc<Cell<u64>>;
/// The framed files of a database that are being written, and what tells how much of them is
/// durable.
pub(super) struct OpenFiles {
    witness: Witness,
    /// By the names of the files: LevelDB has two paths for a directory behind a symbolic link.
    writers: BTreeMap<OsString, FramedWriter>,
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap_or_default().to_owned()
}

impl OpenFiles {
    fn sync(&mut self, path: &Path) -> std::result::Result<(), Fault> {
        let Some(writer) = self.writers.get_mut(&name_of(path)) else { return Ok(()) };
        writer.sync()?;
        self.witness.synced(path, writer)
    }
}

/// Empty once the database has been closed and its files have been taken.
pub(super) type SharedFiles = Rc<RefCell<Option<OpenFiles>>>;
/// What CURRENT is to hold when the run is complete; empty before LevelDB has said so.
pub(super) type RunRoot = Content;

/// Invariants: `current` is what the CURRENT of each directory holds, where this environment has
/// written it; `temporary` has the files that have been written and not yet renamed; `run_root`
/// is there in a run's directory only.
pub(super) struct DurableEnv {
    disk: GuardedDisk,
    files: SharedFiles,
    temporary: RefCell<HashMap<PathBuf, Content>>,
    current: RefCell<HashMap<PathBuf, Vec<u8>>>,
    changes: FileChanges,
    log_step_bytes: u64,
    run_root: Option<RunRoot>,
}

impl DurableEnv {
    /// For the database in `dir`, which exists. Its logs grow in steps of `log_step_bytes`; 0: by
    /// what is written. It is refused if it was copied, unless copies are accepted.
    pub(super) fn open(
        disk: GuardedDisk,
        dir: &Path,
        log_step_bytes: u64,
        accept_copy: bool,
    ) -> std::result::Result<Self, Fault> {
        let witness = Witness::open(&disk, dir, accept_copy)?;
        Ok(Self::resume(disk, OpenFiles { witness, writers: BTreeMap::new() }, log_step_bytes))
    }

    /// For a database whose `files` another environment has made and nothing was written to since:
    /// LevelDB goes on with its log and MANIFEST.
    pub(super) fn resume(disk: GuardedDisk, files: OpenFiles, log_step_bytes: u64) -> Self {
        let files = Rc::new(RefCell::new(Some(files)));
        let (temporary, current) = (RefCell::default(), RefCell::default());
        Self {
            disk,
            files,
            temporary,
            current,
            changes: FileChanges::default(),
            log_step_bytes,
            run_root: None,
        }
    }

    /// For a new run in `dir`, which exists and is empty. What CURRENT is to hold goes to `root`.
    pub(super) fn for_run(disk: GuardedDisk, dir: &Path, root: RunRoot) -> std::result::Result<Self, Fault> {
        Ok(Self { run_root: Some(root), ..Self::open(disk, dir, 0, false)? })
    }

    pub(super) fn changes(&self) -> FileChanges {
        self.changes.clone()
    }

    pub(super) fn files(&self) -> SharedFiles {
        self.files.clone()
    }

    fn claim(&self, path: &Path) -> Option<Claim> {
        self.files.borrow().as_ref().and_then(|files| files.witness.claim(path))
    }

    fn is_being_written(&self, path: &Path) -> bool {
        self.files.borrow().as_ref().is_some_and(|files| files.writers.contains_key(&name_of(path)))
    }

    /// A new log or MANIFEST.
    fn create_framed(&self, path: &Path, step_bytes: u64) -> Result<LogFile> {
        let mut files = self.files.borrow_mut();
        let files = files.as_mut().ok_or_else(|| status(self.disk.damaged(path, "not open any more")))?;
        // LevelDB gives a number again that a crash made it forget.
        files.witness.forget(path).map_err(status)?;
        let mut writer = FramedWriter::create_log(&self.disk, path).map_err(status)?;
        writer.grow_in_steps(step_bytes);
        files.writers.insert(name_of(path), writer);
        Ok(LogFile { path: path.to_owned(), files: self.files.clone() })
    }

    fn file_changes(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
    }

    fn stream(&self, path: &Path) -> Result<Vec<u8>> {
        if let (Some(root), FileKind::Current) = (&self.run_root, FileKind::of(path)) {
            let content = root.borrow().clone();
            return if content.is_empty() { Err(self.missing(path)) } else { Ok(content) };
        }
        read_stream(&self.disk, path, self.tail(path)).map_err(status)?.ok_or_else(|| self.missing(path))
    }

    /// What may be wrong at the end of a framed file.
    pub(super) fn tail(&self, path: &Path) -> Tail {
        match FileKind::of(path) {
            FileKind::Log | FileKind::Manifest => self.claim(path).map_or(Tail::MayBeTorn, Tail::Witnessed),
            _ => Tail::Complete,
        }
    }

    fn table(&self, path: &Path) -> Result<PagedReader> {
        PagedReader::open(&self.disk, path).map_err(status)?.ok_or_else(|| self.missing(path))
    }

    /// LevelDB asks for files that its root names, and would take a missing one for an empty one.
    /// Only the root itself may be missing: then the database is new, which [`super::LevelDb`]
    /// has made sure of.
    fn missing(&self, path: &Path) -> Status {
        match FileKind::of(path) {
            FileKind::Current => Status::new(StatusCode::NotFound, &path.display().to_string()),
            _ => status(self.disk.damaged(path, "missing")),
        }
    }

    /// LevelDB writes CURRENT after every change of MANIFEST, nearly always with the content it
    /// has.
    fn replace_current(&self, to: &Path, content: Vec<u8>) -> Result<()> {
        if let Some(root) = &self.run_root {
            root.replace(content);
            return Ok(());
        }
        if self.current.borrow().get(to) == Some(&content) {
            return Ok(());
        }
        marker::replace(&self.disk, to, &content).map_err(status)?;
        self.current.borrow_mut().insert(to.to_owned(), content);
        Ok(())
    }
}

impl Env for DurableEnv {
    fn open_sequential_file(&self, path: &Path) -> Result<Box<dyn Read>> {
        Ok(Box::new(Cursor::new(self.stream(path)?)))
    }

    fn open_random_access_file(&self, path: &Path) -> Result<Box<dyn RandomAccess>> {
        Ok(Box::new(Table(self.table(path)?)))
    }

    fn open_writable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.file_changes();
        match FileKind::of(path) {
            FileKind::Table => {
                let mut table = PagedWriter::create(&self.disk, path).map_err(status)?;
                if self.run_root.is_some() {
                    table.leave_name();
                }
                Ok(Box::new(TableFile(table)))
            }
            FileKind::Temporary => {
                let content = Content::default();
                self.temporary.borrow_mut().insert(path.to_owned(), content.clone());
                Ok(Box::new(TemporaryFile(content)))
            }
            FileKind::Manifest => {
                let file = self.create_framed(path, 0)?;
                // That of a run is synced at its end.
                if self.run_root.is_some() { Ok(Box::new(Unsynced(file))) } else { Ok(Box::new(file)) }
            }
            FileKind::Log if self.run_root.is_some() => Ok(Box::new(io::sink())),
            _ => Ok(Box::new(self.create_framed(path, self.log_step_bytes)?)),
        }
    }

    fn open_appendable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        // `reuse_logs` and `reuse_manifest` ask for it, which are on for prepared files only.
        if !self.is_being_written(path) {
            return Err(status(self.disk.damaged(path, "LevelDB tried to append to an old file")));
        }
        Ok(Box::new(LogFile { path: path.to_owned(), files: self.files.clone() }))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.disk.len(path).map_err(status)?.is_some())
    }

    fn children(&self, path: &Path) -> Result<Vec<PathBuf>> {
        self.disk.list(path).map_err(status)
    }

    fn size_of(&self, path: &Path) -> Result<usize> {
        let len = match FileKind::of(path) {
            FileKind::Table => self.table(path)?.payload_len(),
            FileKind::Log | FileKind::Manifest => self.stream(path)?.len() as u64,
            _ => self.disk.len(path).map_err(status)?.ok_or_else(|| self.missing(path))?,
        };
        usize::try_from(len).map_err(|e| io::Error::other(e).into())
    }

    fn delete(&self, path: &Path) -> Result<()> {
        self.file_changes();
        if let Some(files) = self.files.borrow_mut().as_mut() {
            files.witness.forget(path).map_err(status)?;
        }
        self.disk.delete(path).map_err(status)
    }

    fn mkdir(&self, _: &Path) -> Result<()> {
        // The database's directory is there before LevelDB is opened.
        Ok(())
    }

    fn rmdir(&self, path: &Path) -> Result<()> {
        self.disk.delete_dir(path).map_err(status)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.file_changes();
        match self.temporary.borrow_mut().remove(from) {
            Some(content) => self.replace_current(to, content.take()),
            None => self.disk.rename(from, to).map_err(status),
        }
    }

    fn lock(&self, path: &Path) -> Result<FileLock> {
        // The whole storage directory is locked by `Storage::open`.
        Ok(FileLock { id: path.display().to_string() })
    }

    fn unlock(&self, _: FileLock) -> Result<()> {
        Ok(())
    }

    fn new_logger(&self, _: &Path) -> Result<Logger> {
        Ok(Logger::new(Box::new(io::sink())))
    }

    fn micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn sleep_for(&self, micros: u32) {
        std::thread::sleep(std::time::Duration::from_micros(micros.into()));
    }
}

struct Table(PagedReader);

impl RandomAccess for Table {
    fn read_at(&self, off: usize, dst: &mut [u8]) -> Result<usize> {
        self.0.read_at(off as u64, dst).map_err(status)
    }
}

struct TableFile(PagedWriter);

impl Write for TableFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.is_finished() {
            return Err(io::Error::other(format!("write behind the end of {}", self.0.path().display())));
        }
        self.0.write(bytes).map_err(io_error)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.finish().map_err(io_error)
    }
}

/// A file among the [`OpenFiles`]. Takes whole buffers only: LevelDB ignores how much of one was
/// written. Dropped, it is synced and witnessed, so that a log that LevelDB rotates away is durable
/// before the next one gets a record.
struct LogFile {
    path: PathBuf,
    files: SharedFiles,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut files = self.files.borrow_mut();
        let writer = files.as_mut().and_then(|files| files.writers.get_mut(&name_of(&self.path)));
        let closed = || io::Error::other(format!("{} is closed", self.path.display()));
        writer.ok_or_else(closed)?.write(bytes).map_err(io_error)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.files.borrow_mut().as_mut() {
            Some(files) => files.sync(&self.path).map_err(io_error),
            None => Ok(()),
        }
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if let Some(files) = self.files.borrow_mut().as_mut() {
            // A failure has been latched, which is how everybody learns of it.
            let _ = files.sync(&self.path);
            files.writers.remove(&name_of(&self.path));
        }
    }
}

/// A file of which only the end makes anything durable.
struct Unsynced(LogFile);

impl Write for Unsynced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct TemporaryFile(Content);

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
