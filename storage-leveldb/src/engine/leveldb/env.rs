//! The environment that rusty-leveldb lacks.
//!
//! Every file LevelDB touches goes through here. What this adds:
//! - `flush` on a file is an `fdatasync`; a file's name is durable with its first sync;
//! - tables are complete and durable before LevelDB can name them in MANIFEST (LevelDB ends a table
//!   with `flush`), and an old log is durable before the next one gets a record (it is synced when
//!   dropped);
//! - CURRENT is replaced by write, sync, rename and directory sync, and only when it changes;
//! - every byte is under a checksum that is verified when it is read, and how much of each log is
//!   durable is written down beside it (see [`crate::file`]);
//! - a file that LevelDB asks for is there, or it is a fault;
//! - the first failure latches, and nothing reaches the disk after it.
//!
//! For a [table](super::table) it does less: nothing in the directory counts before CURRENT is
//! there, which is put there when all else is durable. Until then CURRENT stays in memory, MANIFEST
//! and the names of table files are not synced, and of the logs, which no start will read, nothing
//! is written at all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use rusty_leveldb::env::{Env, FileLock, Logger, RandomAccess};
use rusty_leveldb::{Result, Status, StatusCode, infolog};

use super::file_kind::FileKind;
use crate::disk::GuardedDisk;
use crate::file::framed::FramedWriter;
use crate::file::framed_reader::{Tail, read_stream};
use crate::file::marker;
use crate::file::paged::{PagedReader, PagedWriter};
use crate::file::witness::Witness;
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

type SharedWitness = Rc<RefCell<Witness>>;
type Content = Rc<RefCell<Vec<u8>>>;
/// Counts the files that have come or gone.
pub(super) type FileChanges = Rc<Cell<u64>>;
/// The log that LevelDB writes to, as long as it does.
pub(super) type CurrentLog = Rc<RefCell<Weak<RefCell<FramedWriter>>>>;
/// What CURRENT is to hold when the table is complete; empty before LevelDB has said so.
pub(super) type TableCurrent = Content;

/// Invariants: `current` is what the CURRENT of each directory holds, where this environment has
/// written it; `temporary` has the files that have been written and not yet renamed;
/// `table_current` is there in a table's directory only.
pub(super) struct DurableEnv {
    disk: GuardedDisk,
    witness: SharedWitness,
    temporary: RefCell<HashMap<PathBuf, Content>>,
    current: RefCell<HashMap<PathBuf, Vec<u8>>>,
    changes: FileChanges,
    log: CurrentLog,
    log_step_bytes: u64,
    table_current: Option<TableCurrent>,
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
        let witness = Rc::new(RefCell::new(Witness::open(&disk, dir, accept_copy)?));
        let (temporary, current) = (RefCell::default(), RefCell::default());
        let (changes, log) = Default::default();
        Ok(Self { disk, witness, temporary, current, changes, log, log_step_bytes, table_current: None })
    }

    /// For a new table in `dir`, which exists and is empty. What CURRENT is to hold goes to `root`.
    pub(super) fn for_table(
        disk: GuardedDisk,
        dir: &Path,
        root: TableCurrent,
    ) -> std::result::Result<Self, Fault> {
        Ok(Self { table_current: Some(root), ..Self::open(disk, dir, 0, false)? })
    }

    pub(super) fn changes(&self) -> FileChanges {
        self.changes.clone()
    }

    pub(super) fn log(&self) -> CurrentLog {
        self.log.clone()
    }

    fn file_changes(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
    }

    fn stream(&self, path: &Path) -> Result<Vec<u8>> {
        if let (Some(root), FileKind::Current) = (&self.table_current, FileKind::of(path)) {
            let content = root.borrow().clone();
            return if content.is_empty() { Err(self.missing(path)) } else { Ok(content) };
        }
        read_stream(&self.disk, path, self.tail(path)).map_err(status)?.ok_or_else(|| self.missing(path))
    }

    /// What may be wrong at the end of a framed file.
    pub(super) fn tail(&self, path: &Path) -> Tail {
        match FileKind::of(path) {
            FileKind::Log | FileKind::Manifest => {
                self.witness.borrow().claim(path).map_or(Tail::MayBeTorn, Tail::Witnessed)
            }
            _ => Tail::Complete,
        }
    }

    fn table(&self, path: &Path) -> Result<PagedReader> {
        PagedReader::open(&self.disk, path).map_err(status)?.ok_or_else(|| self.missing(path))
    }

    /// LevelDB asks for files that its root names, and would take a missing one for an empty one.
    /// Only the root itself may be missing: then the database is new, which [`super::LevelDb`] has
    /// made sure of.
    fn missing(&self, path: &Path) -> Status {
        match FileKind::of(path) {
            FileKind::Current => Status::new(StatusCode::NotFound, &path.display().to_string()),
            _ => status(self.disk.damaged(path, "missing")),
        }
    }

    /// LevelDB writes CURRENT after every change of MANIFEST, nearly always with the content it
    /// has.
    fn replace_current(&self, to: &Path, content: Vec<u8>) -> Result<()> {
        if let Some(root) = &self.table_current {
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
        Ok(Box::new(TableFileReader(self.table(path)?)))
    }

    fn open_writable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        self.file_changes();
        match FileKind::of(path) {
            FileKind::Table => {
                let mut table = PagedWriter::create(&self.disk, path).map_err(status)?;
                if self.table_current.is_some() {
                    table.leave_name();
                }
                Ok(Box::new(TableFileWriter(table)))
            }
            FileKind::Temporary => {
                let content = Content::default();
                self.temporary.borrow_mut().insert(path.to_owned(), content.clone());
                Ok(Box::new(TemporaryFile(content)))
            }
            FileKind::Manifest => {
                let log = LogFile::create(&self.disk, path, &self.witness).map_err(status)?;
                let syncs = self.table_current.is_none();
                Ok(Box::new(ManifestFile { log, syncs }))
            }
            FileKind::Log if self.table_current.is_some() => Ok(Box::new(io::sink())),
            _ => {
                let log = LogFile::create(&self.disk, path, &self.witness).map_err(status)?;
                log.writer.borrow_mut().grow_in_steps(self.log_step_bytes);
                self.log.replace(Rc::downgrade(&log.writer));
                Ok(Box::new(log))
            }
        }
    }

    fn open_appendable_file(&self, path: &Path) -> Result<Box<dyn Write>> {
        // Only `reuse_logs` and `reuse_manifest` would ask for it, and both are off.
        Err(status(self.disk.damaged(path, "LevelDB tried to append to an old file")))
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
            _ => self.disk.len(path).map_err(status)?.ok_or_else(|| self.missing(path))?,
        };
        usize::try_from(len).map_err(|e| io::Error::other(e).into())
    }

    fn delete(&self, path: &Path) -> Result<()> {
        self.file_changes();
        self.witness.borrow_mut().forget(path).map_err(status)?;
        self.disk.delete(path).map_err(status)
    }

    fn mkdir(&self, path: &Path) -> Result<()> {
        self.disk.create_dir(path).map_err(status)
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

struct TableFileReader(PagedReader);

impl RandomAccess for TableFileReader {
    fn read_at(&self, off: usize, dst: &mut [u8]) -> Result<usize> {
        self.0.read_at(off as u64, dst).map_err(status)
    }
}

struct TableFileWriter(PagedWriter);

impl Write for TableFileWriter {
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

/// Takes whole buffers only: LevelDB ignores how much of one was written. Dropped, it is synced and
/// witnessed, so that a log that LevelDB rotates away is durable before the next one gets a record.
struct LogFile {
    writer: Rc<RefCell<FramedWriter>>,
    path: PathBuf,
    witness: SharedWitness,
}

impl LogFile {
    fn create(disk: &GuardedDisk, path: &Path, witness: &SharedWitness) -> std::result::Result<Self, Fault> {
        // LevelDB gives a number again that a crash made it forget.
        witness.borrow_mut().forget(path)?;
        let writer = Rc::new(RefCell::new(FramedWriter::create_log(disk, path)?));
        Ok(Self { writer, path: path.to_owned(), witness: witness.clone() })
    }

    fn sync(&mut self) -> std::result::Result<(), Fault> {
        let mut writer = self.writer.borrow_mut();
        writer.sync()?;
        self.witness.borrow_mut().synced(&self.path, &writer)
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.borrow_mut().write(bytes).map_err(io_error)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sync().map_err(io_error)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // A failure has been latched, and every later request is answered with it.
        let _ = self.sync();
    }
}

/// LevelDB's MANIFEST.
struct ManifestFile {
    log: LogFile,
    /// A flush makes it durable; else only its end does.
    syncs: bool,
}

impl Write for ManifestFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.syncs { self.log.flush() } else { Ok(()) }
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
