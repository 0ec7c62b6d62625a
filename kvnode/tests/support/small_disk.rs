//! A disk so small that it can be filled: a tmpfs of its own for one node.
//!
//! Mounting needs root. The mount ends with the value, on a panic too; what a killed test left
//! mounted, the next one unmounts.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts are named after the process that made them, so that those of a dead one can be told.
const SOURCE_PREFIX: &str = "kvnode-test-";
/// What fills the disk.
const BALLAST: &str = "ballast";

/// Invariant: mounted until it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts it on `dir`, which is made.
    pub fn mount(dir: &Path, mib: u64) -> Result<Self, String> {
        unmount_leftovers();
        fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let source = format!("{SOURCE_PREFIX}{}", std::process::id());
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "tmpfs", "-o", &size, &source]).arg(dir))?;
        Ok(Self { dir: dir.to_owned() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves no room for another page; files may still grow to the end of their last one.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.dir.join(BALLAST)).unwrap();
        let mut chunk = vec![0; 1 << 20];
        while !chunk.is_empty() {
            match ballast.write(&chunk) {
                Ok(written) if written > 0 => {}
                Ok(_) => chunk.truncate(chunk.len() / 2),
                Err(e) if e.kind() == ErrorKind::StorageFull => chunk.truncate(chunk.len() / 2),
                Err(e) => panic!("cannot fill {}: {e}", self.dir.display()),
            }
        }
    }

    /// Takes away what filled it.
    pub fn make_room(&self) {
        fs::remove_file(self.dir.join(BALLAST)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(e) = run(Command::new("umount").arg("-l").arg(&self.dir)) {
            eprintln!("left mounted: {e}");
        }
    }
}

fn unmount_leftovers() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(source), Some(dir)) = (fields.next(), fields.next()) else { continue };
        let Some(pid) = source.strip_prefix(SOURCE_PREFIX) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            eprintln!("unmounting {dir}, which a killed test has left");
            // Another test may have done so at the same time.
            drop(run(Command::new("umount").args(["-l", dir])));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said.trim())) }
}
