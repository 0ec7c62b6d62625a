//! The files of the state, read and changed behind the storage's back: every checksum is right
//! afterwards, so that only what they say can be wrong. `src/state/root.rs` and `src/state/run.rs`
//! say what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};
use serde::{Deserialize, Serialize};
use storage_leveldb::testing::formats::{FramedStep, decode_framed, write_framed};
use storage_leveldb::testing::{SimDisk, leveldb_on};
use storage_leveldb::{Disk, EngineFactory, KeyRange, LevelDbOptions, ScanLimit};

use super::Types;

/// What ROOT says of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRun {
    pub number: u64,
    pub pairs: u64,
    pub bytes: u64,
}

/// What is in ROOT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRoot {
    pub format: u8,
    pub applied: Option<LogIdOf<Types>>,
    pub membership: StoredMembershipOf<Types>,
    pub runs: Vec<StoredRun>,
}

impl StoredRoot {
    pub fn numbers(&self) -> BTreeSet<u64> {
        self.runs.iter().map(|run| run.number).collect()
    }
}

fn root_path(dir: &Path) -> PathBuf {
    dir.join("state/ROOT")
}

fn run_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("state/run-{number}"))
}

fn root_content(disk: &SimDisk, dir: &Path) -> Vec<u8> {
    decode_framed(&disk.read(&root_path(dir)).unwrap(), false).unwrap()
}

pub fn root(disk: &SimDisk, dir: &Path) -> StoredRoot {
    codec::decode(&root_content(disk, dir)).unwrap()
}

pub fn change_root_content(disk: &SimDisk, dir: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = root_content(disk, dir);
    change(&mut content);
    let (bytes, _) = write_framed(&[FramedStep::Write(content), FramedStep::Sync]).unwrap();
    let path = root_path(dir);
    let mut file = disk.create(&path).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync().unwrap();
}

pub fn change_root(disk: &SimDisk, dir: &Path, change: impl FnOnce(&mut StoredRoot)) {
    let mut root = root(disk, dir);
    change(&mut root);
    change_root_content(disk, dir, |content| *content = codec::encode(&root).unwrap());
}

/// The records of a run, as they are stored.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes another run in the place of this one.
pub fn change_run(disk: &SimDisk, dir: &Path, number: u64, change: impl FnOnce(&mut Records)) {
    let (factory, path) = (Arc::new(leveldb_on(disk, LevelDbOptions::default())), run_path(dir, number));
    let everything = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };
    let run = factory.clone().open_run(&path).unwrap();
    let pairs = run.scan(&KeyRange::all(), everything).unwrap();
    drop(run);
    let mut records: Records = pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    change(&mut records);
    disk.delete_dir(&path).unwrap();
    let mut writer = factory.write_run(&path).unwrap();
    records.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
    writer.finish().unwrap();
}

/// The numbers of the runs that there are, whether they count or not.
pub fn runs_there(disk: &dyn Disk, dir: &Path) -> BTreeSet<u64> {
    let names = disk.list(&dir.join("state")).unwrap();
    let number = |name: &PathBuf| name.to_str()?.strip_prefix("run-")?.parse().ok();
    names.iter().filter_map(number).collect()
}
