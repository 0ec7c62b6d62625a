//! What a simulated disk is made of.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::{Failure, Plan, ReadFailure, power_is_off};
use super::file::File;
use super::operation::OperationKind;
use super::survival::{Chance, Survival};
use super::tree::{FileId, Tree};

/// The middle of one operation: a change has been made and is not durable, a sync has begun and
/// made nothing durable yet. So a power failure now may leave all, some or nothing of the
/// operation.
pub struct Moment<'a> {
    /// Number of the operation on this disk; the first is 1.
    pub number: u64,
    /// What is being done.
    pub kind: OperationKind,
    /// To which file or directory.
    pub path: &'a Path,
    pub(super) state: &'a State,
}

/// Sees every operation; runs in the middle of it, while the disk is locked: it must not call the
/// disk.
pub(super) type Watcher = Arc<dyn Fn(&Moment<'_>) + Send + Sync>;

#[derive(Default)]
pub(super) struct State {
    pub(super) files: Vec<Arc<File>>,
    pub(super) tree: Tree,
    pub(super) locks: HashSet<PathBuf>,
    pub(super) changes: Plan<Failure>,
    pub(super) reads: Plan<ReadFailure>,
    /// How many bytes all files together may hold.
    pub(super) capacity_bytes: Option<u64>,
    pub(super) power_is_off: bool,
    pub(super) watcher: Option<Watcher>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("files", &self.files.len()).finish_non_exhaustive()
    }
}

impl State {
    /// The content alone: the copy is not watched, nothing fails on it and it is not locked.
    pub(super) fn copy(&self) -> Self {
        let (files, tree) = (self.files.clone(), self.tree.clone());
        Self { files, tree, capacity_bytes: self.capacity_bytes, ..Self::default() }
    }

    pub(super) fn reboot(&self, survival: Survival) -> Self {
        let mut chance = Chance::of(survival);
        let named = self.tree.named_files();
        let tree = self.tree.survivor(&mut chance);
        let nothing = Arc::new(File::default());
        let survivor = |(id, file): (FileId, &Arc<File>)| {
            if named.contains(&id) { Arc::new(file.survivor(&mut chance)) } else { nothing.clone() }
        };
        let files = self.files.iter().enumerate().map(survivor).collect();
        Self { files, tree, capacity_bytes: self.capacity_bytes, ..Self::default() }
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.power_is_off { Err(power_is_off()) } else { Ok(()) }
    }

    fn show(&self, kind: OperationKind, path: &Path) {
        if let Some(watcher) = &self.watcher {
            watcher(&Moment { number: self.changes.done, kind, path, state: self });
        }
    }

    /// Counts an operation. `Some`: it goes wrong in this way, which is not an error without
    /// effect.
    fn count(&mut self) -> io::Result<Option<Failure>> {
        self.check_power()?;
        match self.changes.next() {
            Some(failure @ Failure::Error(_)) => Err(failure.error()),
            other => Ok(other),
        }
    }

    fn end<T>(&mut self, failure: Option<Failure>, value: T) -> io::Result<T> {
        if failure == Some(Failure::PowerLoss) {
            self.power_is_off = true;
            return Err(power_is_off());
        }
        Ok(value)
    }

    /// Runs an operation that changes names.
    pub(super) fn change<T>(
        &mut self,
        kind: OperationKind,
        path: &Path,
        effect: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let failure = self.count()?;
        if let Some(failure @ (Failure::ShortWrite(_) | Failure::LostSync(_))) = failure {
            return Err(failure.error());
        }
        let value = effect(self)?;
        self.show(kind, path);
        self.end(failure, value)
    }

    /// How many of `bytes` are written, and what is answered, where there is room for `room`.
    fn part_kept(&mut self, failure: Option<Failure>, room: usize, bytes: usize) -> (usize, io::Result<()>) {
        let fits = room.min(bytes);
        self.changes.struck |= fits < bytes;
        match failure {
            Some(failure @ Failure::ShortWrite(_)) => (fits.min(bytes / 2), Err(failure.error())),
            Some(failure @ Failure::LostSync(_)) => (0, Err(failure.error())),
            _ if fits < bytes => (fits, Err(io::Error::from(io::ErrorKind::StorageFull))),
            _ => (bytes, Ok(())),
        }
    }

    pub(super) fn write(&mut self, id: FileId, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let failure = self.count()?;
        let room = self.room_bytes().saturating_add(self.file(id)?.reserved());
        let (kept, result) = self.part_kept(failure, room, bytes.len());
        let kept = bytes.get(..kept).unwrap_or_default();
        if !kept.is_empty() {
            self.file_mut(id)?.append(kept);
        }
        self.show(OperationKind::Write, path);
        self.end(failure, ())?;
        result
    }

    /// Puts zeros behind a file's end.
    pub(super) fn reserve(&mut self, id: FileId, path: &Path, bytes: usize) -> io::Result<()> {
        let failure = self.count()?;
        let (kept, result) = self.part_kept(failure, self.room_bytes(), bytes);
        self.file_mut(id)?.reserve(kept);
        self.show(OperationKind::Reserve, path);
        self.end(failure, ())?;
        result
    }

    pub(super) fn sync(&mut self, id: FileId, path: &Path) -> io::Result<()> {
        let failure = self.count()?;
        self.show(OperationKind::Sync, path);
        self.end(failure, ())?;
        match failure {
            None => self.file_mut(id)?.sync(),
            Some(failure) => {
                if matches!(failure, Failure::LostSync(_)) {
                    self.file_mut(id)?.fail_sync();
                }
                return Err(failure.error());
            }
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let failure = self.count()?;
        self.show(OperationKind::SyncDir, path);
        self.end(failure, ())?;
        match failure {
            None => self.tree.sync(path),
            Some(failure) => Err(failure.error()),
        }
    }

    /// Counts an operation that reads.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if self.read()? {
            // There is no such thing as half an answer to this.
            self.reads.struck = false;
        }
        Ok(())
    }

    /// Counts a read of content; answers whether it is to be short.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        self.check_power()?;
        match self.reads.next() {
            None => Ok(false),
            Some(ReadFailure::Short) => Ok(true),
            Some(ReadFailure::Error(kind)) => Err(io::Error::new(kind, "injected")),
        }
    }

    fn room_bytes(&self) -> usize {
        let Some(capacity) = self.capacity_bytes else { return usize::MAX };
        let files: HashSet<FileId> = self.tree.files().into_iter().map(|(_, id)| id).collect();
        let used: u64 = files.iter().filter_map(|id| self.files.get(*id)).map(|file| file.len() as u64).sum();
        usize::try_from(capacity.saturating_sub(used)).unwrap_or(usize::MAX)
    }

    pub(super) fn file(&self, id: FileId) -> io::Result<&File> {
        self.files.get(id).map(|file| &**file).ok_or_else(|| io::Error::other("no such inode"))
    }

    pub(super) fn file_mut(&mut self, id: FileId) -> io::Result<&mut File> {
        self.files.get_mut(id).map(Arc::make_mut).ok_or_else(|| io::Error::other("no such inode"))
    }

    pub(super) fn new_file(&mut self) -> FileId {
        self.files.push(Arc::default());
        self.files.len().saturating_sub(1)
    }
}
