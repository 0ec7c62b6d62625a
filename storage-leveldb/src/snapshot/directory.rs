//! Which snapshot file counts.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::RaftTypeConfig;
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};

use super::error::SnapshotError;
use super::file::{SnapshotFile, TemporaryFile};
use super::reader::SnapshotReader;
use super::writer::SnapshotWriter;
use crate::disk::GuardedDisk;
use crate::error::StorageError;
use crate::observer::Observer;

const TEMPORARY: &str = "tmp";
/// A foreign snapshot is copied in pieces of this size.
const COPY_BYTES: usize = 256 * 1024;

/// The snapshot directory. Cheap to clone.
///
/// Invariant: at most one snapshot counts, it is complete and durable, and it never gives way to an older
/// one.
#[derive(Clone)]
pub(crate) struct SnapshotDirectory {
    dir: PathBuf,
    disk: GuardedDisk,
    next_number: Arc<AtomicU64>,
    replacing: Arc<Mutex<()>>,
}

/// The number and length in a complete snapshot's name.
fn parse_name(name: &Path) -> Option<(u64, u64)> {
    let (number, len) = name.to_str()?.strip_suffix(".snap")?.split_once('-')?;
    Some((number.parse().ok()?, len.parse().ok()?))
}

impl SnapshotDirectory {
    /// Opens the directory, creating it if needed, and removes the garbage in it.
    pub(crate) fn open(dir: &Path, disk: GuardedDisk) -> Result<Self, StorageError> {
        disk.create_dir(dir)?;
        let this = Self { dir: dir.to_owned(), disk, next_number: Arc::default(), replacing: Arc::default() };
        let newest = this.newest()?;
        let number = newest.as_deref().and_then(parse_name).map_or(0, |(number, _)| number);
        this.next_number.store(number.saturating_add(1), Ordering::Relaxed);
        this.remove_others(newest.as_deref())?;
        Ok(this)
    }

    /// The name of the snapshot that counts.
    fn newest(&self) -> Result<Option<PathBuf>, StorageError> {
        let names = self.disk.list(&self.dir)?;
        let numbered =
            names.into_iter().filter_map(|name| parse_name(&name).map(|(number, _)| (number, name)));
        Ok(numbered.max().map(|(_, name)| name))
    }

    fn remove_others(&self, kept: Option<&Path>) -> Result<(), StorageError> {
        for name in self.disk.list(&self.dir)? {
            let is_ours = parse_name(&name).is_some() || name.extension().is_some_and(|end| end == TEMPORARY);
            if is_ours && Some(name.as_path()) != kept {
                self.disk.delete(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_temporary(&self) -> TemporaryFile {
        let path = self.dir.join(format!("{}.{TEMPORARY}", self.next_number()));
        TemporaryFile::new(path, self.disk.clone())
    }

    pub(super) fn disk(&self) -> &GuardedDisk {
        &self.disk
    }

    pub(crate) fn observer(&self) -> &Arc<dyn Observer> {
        self.disk.observer()
    }

    /// Starts writing a snapshot.
    pub(crate) fn writer<C: RaftTypeConfig>(
        &self,
        meta: &SnapshotMetaOf<C>,
    ) -> Result<SnapshotWriter<C>, StorageError> {
        SnapshotWriter::create(self, meta)
    }

    /// Starts reading any snapshot, wherever it lies.
    pub(crate) fn read<C: RaftTypeConfig>(
        &self,
        snapshot: &SnapshotFile,
    ) -> Result<SnapshotReader<C>, SnapshotError> {
        SnapshotReader::open(snapshot.disk(), snapshot.path())
    }

    /// Makes a complete, synced temporary file the snapshot that counts, unless a newer one does; durable
    /// when it returns.
    pub(super) fn commit<C: RaftTypeConfig>(
        &self,
        temporary: TemporaryFile,
        meta: &SnapshotMetaOf<C>,
    ) -> Result<SnapshotFile, StorageError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) =
            self.current::<C>()?.filter(|current| current.meta.last_log_id > meta.last_log_id)
        {
            tracing::info!(kept = %current.meta, "a snapshot was overtaken by a newer one and is dropped");
            return Ok(SnapshotFile::temporary(temporary));
        }
        let len = self.disk.len(temporary.path())?.unwrap_or(0);
        let name = PathBuf::from(format!("{}-{len}.snap", self.next_number()));
        let path = self.dir.join(&name);
        self.disk.rename(temporary.path(), &path)?;
        temporary.was_renamed();
        self.remove_others(Some(&name))?;
        Ok(SnapshotFile::complete(path, self.disk.clone()))
    }

    /// Makes a verified snapshot that was received or lies elsewhere the one that counts.
    pub(crate) fn keep<C: RaftTypeConfig>(
        &self,
        snapshot: SnapshotFile,
        meta: &SnapshotMetaOf<C>,
    ) -> Result<(), SnapshotError> {
        if snapshot.path().parent() != Some(&self.dir) {
            let copy = self.copy_of(&snapshot)?;
            self.commit::<C>(copy, meta)?;
        } else if let Some(temporary) = snapshot.into_temporary().map_err(SnapshotError::Damaged)? {
            self.commit::<C>(temporary, meta)?;
        }
        Ok(())
    }

    fn copy_of(&self, snapshot: &SnapshotFile) -> Result<TemporaryFile, SnapshotError> {
        let temporary = self.new_temporary();
        let from = snapshot.disk().open(snapshot.path())?;
        let from = from.ok_or_else(|| StorageError::at(snapshot.path(), "missing"))?;
        let mut to = self.disk.create(temporary.path())?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        loop {
            let read = from.read_at(offset, &mut buffer).map_err(SnapshotError::Damaged)?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
                break;
            };
            to.write_all(piece)?;
            offset = offset.saturating_add(read as u64);
        }
        to.sync()?;
        Ok(temporary)
    }

    /// The snapshot that counts. A damaged one is a fault.
    pub(crate) fn current<C: RaftTypeConfig>(
        &self,
    ) -> Result<Option<SnapshotOf<C, SnapshotFile>>, StorageError> {
        let Some(name) = self.newest()? else {
            return Ok(None);
        };
        let path = self.dir.join(&name);
        let told = parse_name(&name).map(|(_, len)| len);
        if self.disk.len(&path)? != told {
            return Err(self.disk.damaged(&path, "the file is not as long as its name says").into());
        }
        let reader = SnapshotReader::<C>::open(&self.disk, &path).map_err(|e| match e {
            SnapshotError::Storage(e) => e,
            SnapshotError::Damaged(e) => self.disk.damaged(&path, e).into(),
            SnapshotError::OtherMeta => self.disk.damaged(&path, "unreadable").into(),
        })?;
        let meta = reader.meta().clone();
        Ok(Some(SnapshotOf::<C, SnapshotFile> {
            meta,
            snapshot: SnapshotFile::complete(path, self.disk.clone()),
        }))
    }
}
