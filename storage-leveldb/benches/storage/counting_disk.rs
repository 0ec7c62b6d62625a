//! A disk that counts what is written to it, by the kind of file and the thread that writes.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use storage_leveldb::testing::disk::{Disk, ReadFile, RealDisk, WriteFile};

use crate::table::{Table, mib};

/// Kind of file, and the name of the thread that created it.
type Cause = (String, String);

/// The operating system's files, counted.
#[derive(Clone)]
pub(crate) struct CountingDisk {
    root: PathBuf,
    written: Arc<Mutex<BTreeMap<Cause, Arc<AtomicU64>>>>,
}

/// Its directory below the root and its extension or name, with `N` for every number.
fn kind(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let dir = path.parent().unwrap_or(Path::new("")).display().to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = match name.rsplit_once('.') {
        Some((_, extension)) => format!("*.{extension}"),
        None => name.into_owned(),
    };
    let mut kind = String::new();
    for letter in format!("{dir}/{name}").chars() {
        match letter {
            '0'..='9' if kind.ends_with('N') => {}
            '0'..='9' => kind.push('N'),
            letter => kind.push(letter),
        }
    }
    kind
}

impl CountingDisk {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), written: Arc::default() }
    }

    fn counter(&self, path: &Path) -> Arc<AtomicU64> {
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.entry((kind(&self.root, path), thread)).or_default().clone()
    }

    /// Bytes by cause, as far as a disk can tell it. `user_bytes` is what they are set against.
    pub(crate) fn print(&self, user_bytes: u64) {
        let mut table = Table::new(["files", "written by thread", "bytes", "x user bytes"]);
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for ((kind, thread), bytes) in written.iter() {
            let bytes = bytes.load(Ordering::Relaxed);
            let ratio = format!("{:.3}", bytes as f64 / user_bytes as f64);
            table.row([kind.clone(), thread.clone(), mib(bytes), ratio]);
        }
        table.print();
    }
}

struct CountedFile {
    file: Box<dyn WriteFile>,
    written: Arc<AtomicU64>,
}

impl WriteFile for CountedFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write_all(bytes)
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.file.reserve(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Disk for CountingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(CountedFile { file: RealDisk.create(path)?, written: self.counter(path) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        RealDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        RealDisk.delete(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.delete_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.len(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        RealDisk.lock(path)
    }
}
