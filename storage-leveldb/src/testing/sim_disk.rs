//! A disk in memory with the manners of a real one.
//!
//! What was not synced may survive a power failure or not: each unsynced write on its own, whole, torn at
//! any byte or not at all, so that a later one can be there and an earlier one not; each unsynced creation,
//! link, rename and deletion on its own, a rename never by half.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, ReadFile, WriteFile};

type InodeId = usize;

/// One write to a file's end that has not been synced.
#[derive(Debug, Clone)]
struct Unsynced {
    offset: usize,
    len: usize,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    content: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

/// One change of names in a directory that has not been synced. It happens whole or not at all.
#[derive(Debug, Clone)]
struct NameChange {
    dir: PathBuf,
    remove: Vec<PathBuf>,
    set: Option<(PathBuf, InodeId)>,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, InodeId>) {
        for path in &self.remove {
            names.remove(path);
        }
        if let Some((path, inode)) = &self.set {
            names.insert(path.clone(), *inode);
        }
    }
}

/// What goes wrong at one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The power fails: this operation may have happened in part, and nothing works until a
    /// [`reboot`](SimDisk::reboot).
    PowerLoss,
    /// The operation answers this error once, having done nothing; later ones work.
    Error(io::ErrorKind),
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    /// As the running system sees them.
    names: BTreeMap<PathBuf, InodeId>,
    /// As they are on the platters.
    durable_names: BTreeMap<PathBuf, InodeId>,
    pending: Vec<NameChange>,
    dirs: HashSet<PathBuf>,
    locks: HashSet<PathBuf>,
    operations: u64,
    failure: Option<(u64, Failure)>,
    power_is_off: bool,
}

impl State {
    /// Counts an operation that changes the disk. `Ok(true)`: it happens, and then the power fails.
    fn step(&mut self) -> io::Result<bool> {
        self.check_power()?;
        self.operations += 1;
        match self.failure {
            Some((at, Failure::PowerLoss)) if at == self.operations => Ok(true),
            Some((at, Failure::Error(kind))) if at == self.operations => {
                Err(io::Error::new(kind, "injected"))
            }
            _ => Ok(false),
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.power_is_off { Err(power_is_off()) } else { Ok(()) }
    }

    fn end_step(&mut self, power_fails: bool) -> io::Result<()> {
        self.power_is_off |= power_fails;
        self.check_power()
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn inode(&self, path: &Path) -> io::Result<InodeId> {
        self.names.get(path).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn inode_mut(&mut self, id: InodeId) -> io::Result<&mut Inode> {
        self.inodes.get_mut(id).ok_or_else(|| io::Error::other("no such inode"))
    }
}

fn power_is_off() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the power is off")
}

fn dir_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// A simulated disk. Cheap to clone; all clones are one disk.
///
/// Invariant: [`reboot`](Self::reboot) never loses what a successful sync covered.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations have changed or synced anything since the last reboot.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Makes the `at`-th operation from the last reboot fail; the first is 1.
    pub fn fail_at(&self, at: u64, failure: Failure) {
        self.state().failure = Some((at, failure));
    }

    /// Whether the power has failed.
    #[must_use]
    pub fn power_is_off(&self) -> bool {
        self.state().power_is_off
    }

    /// What is left after a power failure now, as a new disk. `random` answers numbers below its argument, and
    /// decides what survives.
    #[must_use]
    pub fn reboot(&self, mut random: impl FnMut(usize) -> usize) -> Self {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for change in &state.pending {
            if random(2) == 0 {
                change.apply(&mut names);
            }
        }
        let inodes = state.inodes.iter().map(|inode| survivor(inode, &mut random)).collect();
        let dirs = state.dirs.clone();
        let rebooted = State { inodes, durable_names: names.clone(), names, dirs, ..State::default() };
        Self { state: Arc::new(Mutex::new(rebooted)) }
    }

    /// Changes one byte of a file as it lies there; answers whether there is such a byte.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u8) -> bool {
        let mut state = self.state();
        let Ok(id) = state.inode(path) else { return false };
        let byte = state.inode_mut(id).ok().and_then(|inode| inode.content.get_mut(offset));
        byte.map(|byte| *byte ^= 1 << (bit % 8)).is_some()
    }

    /// Every file, with its length.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.state();
        let len = |id: &InodeId| state.inodes.get(*id).map_or(0, |inode| inode.content.len());
        state.names.iter().map(|(path, id)| (path.clone(), len(id))).collect()
    }
}

/// A file after a power failure.
fn survivor(inode: &Inode, random: &mut impl FnMut(usize) -> usize) -> Inode {
    let synced = inode.unsynced.first().map_or(inode.content.len(), |write| write.offset);
    let mut content = inode.content.get(..synced).unwrap_or_default().to_vec();
    for write in &inode.unsynced {
        let kept = match random(3) {
            0 => 0,
            1 => write.len,
            _ => random(write.len + 1),
        };
        if kept > 0 {
            // What was lost before it reads as zeros.
            content.resize(content.len().max(write.offset), 0);
            content.truncate(write.offset);
            content
                .extend_from_slice(inode.content.get(write.offset..write.offset + kept).unwrap_or_default());
        }
    }
    Inode { content, unsynced: Vec::new() }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        let power_fails = state.step()?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_names(NameChange {
            dir: dir_of(path),
            remove: Vec::new(),
            set: Some((path.to_owned(), inode)),
        });
        state.end_step(power_fails)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let state = self.state();
        state.check_power()?;
        Ok(Box::new(SimFile { disk: self.clone(), inode: state.inode(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let power_fails = state.step()?;
        let inode = state.inode(from)?;
        let set = Some((to.to_owned(), inode));
        state.change_names(NameChange { dir: dir_of(to), remove: vec![from.to_owned()], set });
        state.end_step(power_fails)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let power_fails = state.step()?;
        let inode = state.inode(from)?;
        state.change_names(NameChange {
            dir: dir_of(to),
            remove: Vec::new(),
            set: Some((to.to_owned(), inode)),
        });
        state.end_step(power_fails)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        let power_fails = state.step()?;
        state.change_names(NameChange { dir: dir_of(path), remove: vec![path.to_owned()], set: None });
        state.end_step(power_fails)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check_power()?;
        // Directories are durable at once: what matters is the names in them.
        state.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inside: Vec<PathBuf> =
            state.names.keys().filter(|name| name.starts_with(path)).cloned().collect();
        let power_fails = state.step()?;
        // One by one: a power failure may leave any part of the directory.
        for name in inside {
            state.change_names(NameChange { dir: dir_of(&name), remove: vec![name], set: None });
        }
        state.dirs.retain(|dir| !dir.starts_with(path));
        state.end_step(power_fails)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let power_fails = state.step()?;
        if !power_fails {
            let (done, rest) =
                std::mem::take(&mut state.pending).into_iter().partition(|change| change.dir == path);
            state.pending = rest;
            let done: Vec<NameChange> = done;
            done.iter().for_each(|change| change.apply(&mut state.durable_names));
        }
        state.end_step(power_fails)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.check_power()?;
        let files = state.names.keys().filter(|name| name.parent() == Some(path));
        let dirs = state.dirs.iter().filter(|name| name.parent() == Some(path));
        // A directory whose removal did not survive still shows through what is in it.
        let shown =
            state.names.keys().filter_map(|name| name.parent()).filter(|dir| dir.parent() == Some(path));
        let all: HashSet<PathBuf> = files
            .chain(dirs)
            .map(PathBuf::as_path)
            .chain(shown)
            .filter_map(Path::file_name)
            .map(PathBuf::from)
            .collect();
        Ok(all.into_iter().collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.check_power()?;
        let id = state.inode(path)?;
        Ok(state.inodes.get(id).map_or(0, |inode| inode.content.len()) as u64)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        if !self.state().locks.insert(path.to_owned()) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

struct SimFile {
    disk: SimDisk,
    inode: InodeId,
}

impl WriteFile for SimFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let power_fails = state.step()?;
        let inode = state.inode_mut(self.inode)?;
        inode.unsynced.push(Unsynced { offset: inode.content.len(), len: bytes.len() });
        inode.content.extend_from_slice(bytes);
        state.end_step(power_fails)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let power_fails = state.step()?;
        if !power_fails {
            state.inode_mut(self.inode)?.unsynced.clear();
        }
        state.end_step(power_fails)
    }
}

impl ReadFile for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.check_power()?;
        let content = &state.inode_mut(self.inode)?.content;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let source = content.get(start..).unwrap_or_default();
        let n = source.len().min(buf.len());
        for (slot, byte) in buf.iter_mut().zip(source) {
            *slot = *byte;
        }
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.check_power()?;
        Ok(state.inode_mut(self.inode)?.content.len() as u64)
    }
}
