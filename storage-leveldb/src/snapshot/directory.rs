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
use crate::disk::{GuardedDisk, read_exactly};
use crate::error::StorageError;
use crate::file::marker;
use crate::observer::Observer;

const TEMPORARY: &str = "tmp";
const ACTIVE: &str = "ACTIVE";
/// What [`ACTIVE`] says before there is a snapshot.
const NONE: &str = "none";
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
    /// Opens the directory; creates it if `may_create`.
    pub(crate) fn open(dir: &Path, disk: GuardedDisk, may_create: bool) -> Result<Self, StorageError> {
        disk.create_dir(dir)?;
        let this = Self { dir: dir.to_owned(), disk, next_number: Arc::default(), replacing: Arc::default() };
        if may_create && this.disk.len(&dir.join(ACTIVE))?.is_none() {
            this.activate(Path::new(NONE))?;
        }
        let names = this.disk.list(dir)?;
        if this.active()?.is_none() {
            this.adopt_first(&names)?;
        }
        let numbers = names.iter().filter_map(|name| parse_name(name)).map(|(number, _)| number);
        this.next_number.store(numbers.max().unwrap_or(0).saturating_add(1), Ordering::Relaxed);
        Ok(this)
    }

    /// A file with a snapshot's name is complete and durable. If none counts, a crash came between the first
    /// snapshot's name and ACTIVE, or somebody has put back an old ACTIVE: it counts from now on.
    fn adopt_first(&self, names: &[PathBuf]) -> Result<(), StorageError> {
        let complete = names.iter().filter(|name| parse_name(name).is_some());
        let newest = complete.max_by_key(|name| parse_name(name));
        newest.map_or(Ok(()), |newest| self.activate(newest))
    }

    /// The name of the snapshot that counts.
    fn active(&self) -> Result<Option<PathBuf>, StorageError> {
        let path = self.dir.join(ACTIVE);
        let Some(content) = marker::read(&self.disk, &path)? else {
            return Err(self.disk.damaged(&path, "missing").into());
        };
        let name = String::from_utf8(content).ok().map(PathBuf::from);
        match name {
            Some(name) if name == Path::new(NONE) => Ok(None),
            Some(name) if parse_name(&name).is_some() => Ok(Some(name)),
            _ => Err(self.disk.damaged(&path, "does not name a snapshot").into()),
        }
    }

    /// From now on this snapshot counts; durable when it returns.
    fn activate(&self, name: &Path) -> Result<(), StorageError> {
        Ok(marker::replace(&self.disk, &self.dir.join(ACTIVE), name.as_os_str().as_encoded_bytes())?)
    }

    /// Removes everything that does not count. To be called when nothing is being built or received yet, and once
    /// what counts has been found good: if ACTIVE is wrong, this removes the snapshot.
    pub(crate) fn remove_garbage(&self) -> Result<(), StorageError> {
        let active = self.active()?;
        self.remove_complete_but(active.as_deref())?;
        for name in self.disk.list(&self.dir)? {
            if name.extension().is_some_and(|end| end == TEMPORARY) {
                self.disk.delete(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    fn remove_complete_but(&self, kept: Option<&Path>) -> Result<(), StorageError> {
        for name in self.disk.list(&self.dir)? {
            if parse_name(&name).is_some() && Some(name.as_path()) != kept {
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
        let current = self.current_of::<C>()?;
        if let Some(current) = current.filter(|current| current.meta.last_log_id > meta.last_log_id) {
            tracing::info!(kept = %current.meta, "a snapshot was overtaken by a newer one and is dropped");
            return Ok(SnapshotFile::temporary(temporary));
        }
        let missing = || self.disk.damaged(temporary.path(), "missing, although it was just written");
        let len = self.disk.len(temporary.path())?.ok_or_else(missing)?;
        let name = PathBuf::from(format!("{}-{len}.snap", self.next_number()));
        let path = self.dir.join(&name);
        self.disk.rename(temporary.path(), &path)?;
        temporary.was_renamed();
        self.activate(&name)?;
        self.remove_complete_but(Some(&name))?;
        Ok(SnapshotFile::complete(path, self.disk.clone())?)
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
        let unreadable = |e| snapshot.disk().damaged(snapshot.path(), format!("cannot read: {e}"));
        let len = from.len().map_err(unreadable)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut offset = 0;
        while offset < len {
            let piece_bytes =
                usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX).min(COPY_BYTES);
            let piece = buffer.get_mut(..piece_bytes).unwrap_or_default();
            read_exactly(from.as_ref(), offset, piece).map_err(unreadable)?;
            to.write_all(piece)?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        to.sync()?;
        Ok(temporary)
    }

    /// The snapshot that counts, open: a newer one may remove its name while it is sent. A damaged one is a fault.
    pub(crate) fn current<C: RaftTypeConfig>(
        &self,
    ) -> Result<Option<SnapshotOf<C, SnapshotFile>>, StorageError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.current_of::<C>()
    }

    /// The same; `replacing` is locked.
    fn current_of<C: RaftTypeConfig>(&self) -> Result<Option<SnapshotOf<C, SnapshotFile>>, StorageError> {
        let Some(name) = self.active()? else {
            return Ok(None);
        };
        let path = self.dir.join(&name);
        let told = parse_name(&name).map(|(_, len)| len);
        match self.disk.len(&path)? {
            None => return Err(self.disk.damaged(&path, "missing").into()),
            len if len == told => {}
            _ => return Err(self.disk.damaged(&path, "the file is not as long as its name says").into()),
        }
        let reader = SnapshotReader::<C>::open(&self.disk, &path).map_err(|e| match e {
            SnapshotError::Storage(e) => e,
            SnapshotError::Damaged(e) => self.disk.damaged(&path, e).into(),
            SnapshotError::OtherMeta => self.disk.damaged(&path, "unreadable").into(),
        })?;
        let meta = reader.meta().clone();
        Ok(Some(SnapshotOf::<C, SnapshotFile> {
            meta,
            snapshot: SnapshotFile::complete(path, self.disk.clone())?,
        }))
    }
}
