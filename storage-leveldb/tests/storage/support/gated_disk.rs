//! A disk on which the files of some threads cannot be created until they are let go.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use storage_leveldb::testing::SimDisk;
use storage_leveldb::testing::disk::{Disk, ReadFile, WriteFile};

/// Nothing takes so long.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Gate {
    /// Threads of these names wait at their next table.
    held: Vec<&'static str>,
    waiting: Vec<String>,
    /// So many who wait may pass.
    passes: usize,
    fails: bool,
}

/// Cheap to clone; all clones have one gate.
#[derive(Clone, Default)]
pub struct GatedDisk {
    pub disk: SimDisk,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

impl GatedDisk {
    /// With a gate of its own, open.
    pub fn over(disk: SimDisk) -> Self {
        Self { disk, ..Self::default() }
    }

    fn change(&self, change: impl FnOnce(&mut Gate)) {
        change(&mut self.gate.0.lock().unwrap());
        self.gate.1.notify_all();
    }

    /// From now on the thread of this name waits where it would begin a table.
    pub fn hold(&self, thread: &'static str) {
        self.change(|gate| gate.held.push(thread));
    }

    /// One that waits goes on, up to its next table.
    pub fn let_one_pass(&self) {
        self.change(|gate| gate.passes += 1);
        let gate = self.gate.0.lock().unwrap();
        let (_gate, timeout) = self.gate.1.wait_timeout_while(gate, TIMEOUT, |gate| gate.passes > 0).unwrap();
        assert!(!timeout.timed_out(), "nobody waits");
    }

    /// All callers go on.
    pub fn release(&self) {
        self.change(|gate| gate.held.clear());
    }

    /// A caller that waits, or would have to, gets an error.
    pub fn fail(&self) {
        self.change(|gate| gate.fails = true);
    }

    /// Blocks until the thread of this name waits.
    pub fn wait_until_held(&self, thread: &str) {
        let gate = self.gate.0.lock().unwrap();
        let is_away = |gate: &mut Gate| !gate.waiting.iter().any(|waiting| waiting == thread);
        let (_gate, timeout) = self.gate.1.wait_timeout_while(gate, TIMEOUT, is_away).unwrap();
        assert!(!timeout.timed_out(), "{thread} never began a table");
    }

    fn pass(&self, path: &Path) -> io::Result<()> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        if path.extension().is_none_or(|extension| extension != "ldb") {
            return Ok(());
        }
        let is_held = |gate: &Gate| gate.held.iter().any(|held| *held == name);
        let mut gate = self.gate.0.lock().unwrap();
        if !is_held(&gate) {
            return Ok(());
        }
        gate.waiting.push(name.clone());
        self.gate.1.notify_all();
        gate = self.gate.1.wait_while(gate, |gate| is_held(gate) && gate.passes == 0 && !gate.fails).unwrap();
        gate.passes = gate.passes.saturating_sub(1);
        gate.waiting.retain(|waiting| *waiting != name);
        self.gate.1.notify_all();
        if gate.fails { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl Disk for GatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.pass(path)?;
        self.disk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.disk.delete(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn delete_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.delete_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.disk.len(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.disk.lock(path)
    }
}
