//! Which of the databases in the state directory counts.
//!
//! ```text
//! state/ACTIVE          the name of the database that counts (a marker file)
//! state/db-N/           a database; one that ACTIVE does not name is garbage
//! state/checkpoint-N/   what a snapshot is being built from; garbage after a restart
//! ```
//!
//! Installing a snapshot fills a new database and then replaces ACTIVE, so that a crash leaves the old state
//! or the new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::GuardedDisk;
use crate::error::StorageError;
use crate::file::marker;

const ACTIVE: &str = "ACTIVE";
const DATABASE: &str = "db-";
const CHECKPOINT: &str = "checkpoint-";

/// The state directory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct StateDirectory {
    dir: PathBuf,
    disk: GuardedDisk,
    next_number: Arc<AtomicU64>,
}

impl StateDirectory {
    /// Opens the directory; creates it if `may_create`.
    pub(crate) fn open(dir: &Path, disk: GuardedDisk, may_create: bool) -> Result<Self, StorageError> {
        disk.create_dir(dir)?;
        let this = Self { dir: dir.to_owned(), disk, next_number: Arc::default() };
        if this.active_name()?.is_none() {
            if !may_create {
                return Err(this.disk.damaged(&dir.join(ACTIVE), "missing").into());
            }
            this.activate(&dir.join(format!("{DATABASE}1")))?;
        }
        this.count_on()?;
        Ok(this)
    }

    fn active_name(&self) -> Result<Option<PathBuf>, StorageError> {
        let path = self.dir.join(ACTIVE);
        let Some(content) = marker::read(&self.disk, &path)? else {
            return Ok(None);
        };
        let name =
            String::from_utf8(content).ok().filter(|name| number_of(Path::new(name), DATABASE).is_some());
        let name = name.ok_or_else(|| self.disk.damaged(&path, "does not name a database"))?;
        Ok(Some(PathBuf::from(name)))
    }

    /// The database that counts.
    pub(crate) fn active(&self) -> Result<PathBuf, StorageError> {
        let name = self.active_name()?;
        let name = name.ok_or_else(|| self.disk.damaged(&self.dir.join(ACTIVE), "missing"))?;
        Ok(self.dir.join(name))
    }

    /// From now on this database counts; durable when it returns.
    pub(crate) fn activate(&self, database: &Path) -> Result<(), StorageError> {
        let name = database.file_name().unwrap_or_default();
        Ok(marker::replace(&self.disk, &self.dir.join(ACTIVE), name.as_encoded_bytes())?)
    }

    /// Takes numbers from behind the greatest in use.
    fn count_on(&self) -> Result<(), StorageError> {
        // The active database may be named and not there yet.
        let names = self.disk.list(&self.dir)?.into_iter().chain(self.active_name()?);
        let greatest = names.filter_map(|name| any_number_of(&name)).max().unwrap_or(0);
        self.next_number.store(greatest.saturating_add(1), Ordering::Relaxed);
        Ok(())
    }

    /// Removes every database and checkpoint that does not count. To be called once what counts has been found good:
    /// if ACTIVE is wrong, this removes the state.
    pub(crate) fn remove_garbage(&self) -> Result<(), StorageError> {
        let active = self.active_name()?;
        for name in self.disk.list(&self.dir)? {
            if any_number_of(&name).is_some() && Some(&name) != active.as_ref() {
                self.disk.delete_dir(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    fn unused(&self, prefix: &str) -> PathBuf {
        self.dir.join(format!("{prefix}{}", self.next_number.fetch_add(1, Ordering::Relaxed)))
    }

    /// A directory for a database that does not count yet.
    pub(crate) fn new_database(&self) -> PathBuf {
        self.unused(DATABASE)
    }

    /// A directory for a checkpoint, removed when the answer is dropped.
    pub(crate) fn new_checkpoint(&self) -> CheckpointDirectory {
        CheckpointDirectory { path: self.unused(CHECKPOINT), disk: self.disk.clone() }
    }

    /// Removes a database that does not count any more.
    pub(crate) fn remove(&self, database: &Path) -> Result<(), StorageError> {
        Ok(self.disk.delete_dir(database)?)
    }

    pub(crate) fn disk(&self) -> &GuardedDisk {
        &self.disk
    }
}

fn any_number_of(name: &Path) -> Option<u64> {
    number_of(name, DATABASE).or_else(|| number_of(name, CHECKPOINT))
}

/// The number in a name made of `prefix` and a number.
fn number_of(name: &Path, prefix: &str) -> Option<u64> {
    name.to_str()?.strip_prefix(prefix)?.parse().ok()
}

/// A checkpoint's directory; removed when dropped.
pub(crate) struct CheckpointDirectory {
    path: PathBuf,
    disk: GuardedDisk,
}

impl CheckpointDirectory {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CheckpointDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = self.disk.delete_dir(&self.path);
    }
}
