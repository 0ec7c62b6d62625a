//! A third engine: one append-only file, and a map in memory over it.
//!
//! ```text
//! DIR/N.log   records; the greatest N counts
//! DIR/N.tmp   one being written; garbage after a crash
//! record      length of the operations u32 | crc32c of them u32 | operations
//! operation   0 or 1 (put) | key length u32 | key | for a put: value length u32 | value
//! ```
//!
//! A batch is one record, so it is there whole or not at all. Opening reads the file up to the
//! first bad record, which is where a crash cut it, and writes what it found to a new one: an old
//! file is never appended to. It is a toy: everything must fit into memory, and damage in the
//! middle of the file looks like a torn tail.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::disk::{Disk, WriteFile};
use storage_leveldb::testing::engine::{Batch, Durability, Engine, EngineFactory, Op};
use storage_leveldb::{Fault, StorageError};

type Map = BTreeMap<Vec<u8>, Bytes>;

/// Opens [`OneFile`] engines on one disk.
pub(crate) struct OneFileFactory(pub(crate) Arc<dyn Disk>);

/// Invariants: the map is what the records in the file add up to; `to_sync` is false exactly if all
/// of them are durable.
struct OneFile {
    path: PathBuf,
    file: Box<dyn WriteFile>,
    map: Map,
    to_sync: bool,
}

/// Names the file in what the operating system said.
fn at(path: &Path) -> impl FnOnce(io::Error) -> StorageError + '_ {
    move |e| StorageError::Fault(Fault::io("use", path, e))
}

fn number_of(name: &Path) -> Option<u64> {
    name.to_str()?.strip_suffix(".log")?.parse().ok()
}

fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    match disk.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(at(dir)),
    }
}

fn apply(map: &mut Map, op: Op) {
    match op {
        Op::Put(key, value) => map.insert(key, value),
        Op::Delete(key) => map.remove(&key),
    };
}

fn record(ops: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut part = |tag: Option<u8>, part: &[u8]| {
        bytes.extend(tag);
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    };
    for op in ops {
        match op {
            Op::Delete(key) => part(Some(0), key),
            Op::Put(key, value) => {
                part(Some(1), key);
                part(None, value);
            }
        }
    }
    let (len, crc) = (bytes.len() as u32, crc32c::crc32c(&bytes));
    [&len.to_le_bytes()[..], &crc.to_le_bytes(), &bytes].concat()
}

/// Takes `len` bytes off the front, if they are there.
fn take(bytes: &mut Bytes, len: usize) -> Option<Bytes> {
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

fn take_u32(bytes: &mut Bytes) -> Option<u32> {
    Some(u32::from_le_bytes(take(bytes, 4)?.as_ref().try_into().ok()?))
}

fn take_part(bytes: &mut Bytes) -> Option<Bytes> {
    let len = take_u32(bytes)?;
    take(bytes, len as usize)
}

fn take_op(bytes: &mut Bytes) -> Option<Op> {
    match take(bytes, 1)?.as_ref() {
        [0] => Some(Op::Delete(take_part(bytes)?.to_vec())),
        _ => Some(Op::Put(take_part(bytes)?.to_vec(), take_part(bytes)?)),
    }
}

/// The next whole record's operations.
fn take_record(bytes: &mut Bytes) -> Option<Vec<Op>> {
    let (len, crc) = (take_u32(bytes)?, take_u32(bytes)?);
    let mut ops = take(bytes, len as usize).filter(|ops| crc32c::crc32c(ops) == crc && len > 0)?;
    let mut found = Vec::new();
    while !ops.is_empty() {
        found.push(take_op(&mut ops)?);
    }
    Some(found)
}

fn replay(disk: &dyn Disk, path: &Path) -> io::Result<Map> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let read = file.read_at(0, &mut bytes)?;
    let mut bytes = Bytes::from(bytes).slice(..read);
    let mut map = Map::new();
    while let Some(ops) = take_record(&mut bytes) {
        ops.into_iter().for_each(|op| apply(&mut map, op));
    }
    Ok(map)
}

/// A file with all of `map` in it, complete and durable before it gets its name, which is durable
/// too.
fn create(disk: &dyn Disk, path: &Path, map: &Map) -> io::Result<Box<dyn WriteFile>> {
    let temporary = path.with_extension("tmp");
    let mut file = disk.create(&temporary)?;
    for (key, value) in map {
        file.write_all(&record(&[Op::Put(key.clone(), value.clone())]))?;
    }
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(path))?;
    Ok(file)
}

fn create_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir(dir)?;
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or(Ok(()), |parent| disk.sync_dir(parent))
}

impl EngineFactory for OneFileFactory {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError> {
        let disk = self.0.clone();
        create_dir(disk.as_ref(), dir).map_err(at(dir))?;
        let old = names(disk.as_ref(), dir)?;
        let newest = old.iter().filter_map(|name| number_of(name)).max();
        let map = match newest {
            Some(number) => {
                let path = dir.join(format!("{number}.log"));
                replay(disk.as_ref(), &path).map_err(at(&path))?
            }
            None => Map::new(),
        };
        let path = dir.join(format!("{}.log", newest.unwrap_or(0).saturating_add(1)));
        let file = create(disk.as_ref(), &path, &map).map_err(at(&path))?;
        // Only now: until the new file is durable the old one is all there is.
        for name in old {
            match disk.delete(&dir.join(&name)) {
                // A temporary file that a crash left has just been written anew, and renamed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(at(dir))?,
            }
        }
        Ok(Box::new(OneFile { path, file, map, to_sync: false }))
    }

    fn exists(&self, dir: &Path) -> Result<bool, StorageError> {
        Ok(names(self.0.as_ref(), dir)?.iter().any(|name| number_of(name).is_some()))
    }
}

impl OneFile {
    fn sync(&mut self) -> Result<(), StorageError> {
        if self.to_sync {
            self.file.sync().map_err(at(&self.path))?;
            self.to_sync = false;
        }
        Ok(())
    }
}

impl Engine for OneFile {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.map.get(key).cloned())
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        if !batch.ops().is_empty() {
            self.to_sync = true;
            self.file.write_all(&record(batch.ops())).map_err(at(&self.path))?;
            batch.into_ops().into_iter().for_each(|op| apply(&mut self.map, op));
        }
        if durability == Durability::Synced { self.sync() } else { Ok(()) }
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let from = (Bound::Included(&*range.start), Bound::Unbounded);
        for (key, value) in self.map.range::<[u8], _>(from).take_while(|(key, _)| range.contains(key)) {
            bytes += key.len() + value.len();
            found.push((Bytes::copy_from_slice(key), value.clone()));
            if limit.is_reached(found.len(), bytes) {
                break;
            }
        }
        Ok(found)
    }
}
