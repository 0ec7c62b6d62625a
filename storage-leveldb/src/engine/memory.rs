//! The engine that tests compare LevelDB with: maps in memory, one per directory name.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Batch, Durability, Engine, EngineFactory, Op, Table, TableWriter};
use crate::error::StorageError;
use crate::health::Fault;
use crate::scan::{KeyRange, ScanLimit};

type Map = BTreeMap<Vec<u8>, Bytes>;

/// A factory of engines that keep everything in memory. Clones share their content, so that a
/// reopened engine finds what was written; nothing outlives the last clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    dirs: Arc<Mutex<HashMap<PathBuf, Map>>>,
}

impl MemoryEngine {
    fn dirs(&self) -> MutexGuard<'_, HashMap<PathBuf, Map>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EngineFactory for MemoryEngine {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError> {
        self.dirs().entry(dir.to_owned()).or_default();
        Ok(Box::new(Open { dir: dir.to_owned(), all: self.clone() }))
    }

    fn exists(&self, dir: &Path) -> Result<bool, StorageError> {
        Ok(self.dirs().contains_key(dir))
    }

    fn write_table(&self, dir: &Path) -> Result<Box<dyn TableWriter>, StorageError> {
        Ok(Box::new(MemoryTableWriter { dir: dir.to_owned(), all: self.clone(), map: Map::new() }))
    }

    fn open_table(self: Arc<Self>, dir: &Path) -> Result<Arc<dyn Table>, StorageError> {
        let map = self.dirs().get(dir).cloned();
        Ok(Arc::new(MemoryTable(map.ok_or_else(|| Fault::corrupt(dir, "there is no table"))?)))
    }
}

/// What is pushed comes to the other directories when it is complete.
struct MemoryTableWriter {
    dir: PathBuf,
    all: MemoryEngine,
    map: Map,
}

impl TableWriter for MemoryTableWriter {
    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        if self.map.last_key_value().is_some_and(|(last, _)| key <= last.as_slice()) {
            return Err(Fault::corrupt(&self.dir, "the keys of the table do not ascend").into());
        }
        self.map.insert(key.to_vec(), Bytes::copy_from_slice(value));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.all.dirs().insert(self.dir, self.map);
        Ok(())
    }
}

struct MemoryTable(Map);

impl Table for MemoryTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        Ok(scan(&self.0, range, limit))
    }
}

fn scan(map: &Map, range: &KeyRange, limit: ScanLimit) -> Vec<(Bytes, Bytes)> {
    let mut page = limit.page();
    for (key, value) in map.range::<[u8], _>((Bound::Included(&*range.start), Bound::Unbounded)) {
        if !range.contains(key) {
            break;
        }
        if !page.push(Bytes::copy_from_slice(key), value.clone(), key.len() + value.len()) {
            break;
        }
    }
    page.into_found()
}

struct Open {
    dir: PathBuf,
    all: MemoryEngine,
}

impl Open {
    fn with<T>(&self, f: impl FnOnce(&mut Map) -> T) -> T {
        f(self.all.dirs().entry(self.dir.clone()).or_default())
    }
}

impl Engine for Open {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.with(|map| map.get(key).cloned()))
    }

    fn write(&mut self, batch: Batch, _: Durability) -> Result<(), StorageError> {
        self.with(|map| {
            for op in batch.into_ops() {
                match op {
                    Op::Put(key, value) => map.insert(key, value),
                    Op::Delete(key) => map.remove(&key),
                };
            }
        });
        Ok(())
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        Ok(self.with(|map| scan(map, range, limit)))
    }
}
