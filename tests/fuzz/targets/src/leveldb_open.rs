//! A whole LevelDB whose files were changed while it was closed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use storage_leveldb::StorageError;
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::disk::Disk;
use storage_leveldb::testing::engine::{Batch, Durability, EngineFactory, LevelDbOptions};
use storage_leveldb::testing::{SimDisk, leveldb_on};

use crate::damage::change;
use crate::input::Input;

const DIR: &str = "db";
const BATCHES: u32 = 60;
const MAX_CHANGES: usize = 4;

type Files = BTreeMap<PathBuf, Vec<u8>>;
type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A closed database, what it holds, and its files at an earlier time.
struct Base {
    files: Files,
    older: Files,
    pairs: Pairs,
}

fn options() -> LevelDbOptions {
    LevelDbOptions { write_buffer_bytes: 1024, table_bytes: 1024, ..LevelDbOptions::default() }
}

fn files_of(disk: &SimDisk) -> Files {
    let read = |(path, len): (PathBuf, usize)| {
        let mut bytes = vec![0; len];
        let read = disk.open(&path).unwrap().read_at(0, &mut bytes).unwrap();
        assert_eq!(read, len);
        (path, bytes)
    };
    disk.files().into_iter().map(read).collect()
}

fn disk_with(files: &Files) -> SimDisk {
    let disk = SimDisk::default();
    disk.create_dir(Path::new(DIR)).unwrap();
    for (path, bytes) in files {
        let mut file = disk.create(path).unwrap();
        file.write_all(bytes).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk
}

impl Base {
    /// Overwrites and deletes on several levels, a restart in the middle, and a log with some
    /// batches in it.
    fn new() -> Self {
        let disk = SimDisk::default();
        let mut older = Files::new();
        let mut pairs = Pairs::new();
        let factory = leveldb_on(&disk, options());
        let mut engine = factory.open(Path::new(DIR)).unwrap();
        for n in 0..BATCHES {
            let mut batch = Batch::default();
            for i in 0..4 {
                let key = format!("key-{:03}", (n * 7 + i * 13) % 40).into_bytes();
                if (n + i) % 5 == 0 {
                    batch.delete(key.clone());
                    pairs.remove(&key);
                } else {
                    let value = format!("value-{n}-{i}").repeat(2).into_bytes();
                    batch.put(key.clone(), value.clone().into());
                    pairs.insert(key, value);
                }
            }
            let durability = if n % 3 == 0 { Durability::Synced } else { Durability::Ordered };
            engine.write(batch, durability).unwrap();
            if n == BATCHES / 2 {
                drop(engine);
                older = files_of(&disk);
                engine = factory.open(Path::new(DIR)).unwrap();
            }
        }
        drop(engine);
        Self { files: files_of(&disk), older, pairs }
    }

    fn get() -> &'static Self {
        static BASE: OnceLock<Base> = OnceLock::new();
        BASE.get_or_init(Self::new)
    }
}

/// Whatever happens to the files: the exact answers, or a fault that names a file. Never a panic,
/// not even one that is caught.
///
/// A log and the WITNESS of its end do not change in the same input: without the one the other
/// cannot be judged (`docs/FORMAT.md`).
pub fn leveldb_open(data: &[u8]) {
    let base = Base::get();
    let mut files = base.files.clone();
    let mut input = Input::new(data);
    for _ in 0..MAX_CHANGES {
        if input.is_empty() {
            break;
        }
        let before = files.clone();
        change_one(&mut files, &base.older, &mut input);
        if loses_its_witness(&changed(base, &files)) {
            files = before;
        }
    }
    let disk = disk_with(&files);
    match read_everything(&disk) {
        Ok(found) => {
            assert!(found == base.pairs, "{:?} changed the answers: {found:?}", changed(base, &files))
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("fault in db"), "no file is named: {text}");
            assert!(!text.contains("panicked"), "LevelDB saw what it should not have seen: {text}");
        }
    }
}

/// The files that are not as they were.
fn changed(base: &Base, files: &Files) -> Vec<PathBuf> {
    let all: BTreeSet<&PathBuf> = base.files.keys().chain(files.keys()).collect();
    all.into_iter().filter(|path| base.files.get(*path) != files.get(*path)).cloned().collect()
}

fn loses_its_witness(changed: &[PathBuf]) -> bool {
    let any = |part: &str| changed.iter().any(|path| path.to_string_lossy().contains(part));
    any("WITNESS") && (any(".log") || any("MANIFEST"))
}

fn change_one(files: &mut Files, older: &Files, input: &mut Input<'_>) {
    let kind = input.u8();
    let Some(path) = files.keys().nth(input.below(files.len())).cloned() else { return };
    match kind % 8 {
        0 => drop(files.remove(&path)),
        1 => {
            let from = files.keys().nth(input.below(files.len())).cloned().unwrap();
            let copy = files[&from].clone();
            files.insert(path, copy);
        }
        2 => {
            // The file as it once was, or one that has gone since.
            let (path, bytes) = older.iter().nth(input.below(older.len())).unwrap();
            files.insert(path.clone(), bytes.clone());
        }
        _ => change(files.get_mut(&path).unwrap(), input),
    }
}

/// By scan, and again key by key.
fn read_everything(disk: &SimDisk) -> Result<Pairs, StorageError> {
    let mut engine = leveldb_on(disk, options()).open(Path::new(DIR))?;
    let all = engine.scan(&KeyRange::all(), ScanLimit { pairs: usize::MAX, bytes: usize::MAX })?;
    let pairs: Pairs = all.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    for n in 0..40 {
        let key = format!("key-{n:03}").into_bytes();
        let found = engine.get(&key)?.map(|value| value.to_vec());
        assert_eq!(found.as_ref(), pairs.get(&key), "get and scan disagree on {n}");
    }
    Ok(pairs)
}
