//! The files of the state, read and changed behind the storage's back: every checksum is right
//! afterwards, so that only what they say can be wrong. `src/lsm/manifest.rs`,
//! `src/raft/position.rs` and `src/lsm/table.rs` say what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::type_config::alias::{LogIdOf, StoredMembershipOf};
use serde::{Deserialize, Serialize};
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::disk::Disk;
use storage_leveldb::testing::engine::{EngineFactory, LevelDbOptions};
use storage_leveldb::testing::formats::{FramedStep, decode_framed, write_framed};
use storage_leveldb::testing::{SimDisk, leveldb_on};

use super::Types;

/// What MANIFEST says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTable {
    pub number: u64,
    pub pairs: u64,
    pub bytes: u64,
}

/// What MANIFEST says, with the position that the tree keeps as metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    pub applied: Option<LogIdOf<Types>>,
    pub membership: StoredMembershipOf<Types>,
    pub tables: Vec<StoredTable>,
}

/// Format, sequence number, metadata, tables.
type Stored = (u8, u64, Vec<u8>, Vec<StoredTable>);

impl StoredManifest {
    fn decode(content: &[u8]) -> Self {
        let (format, sequence, metadata, tables): Stored = codec::decode(content).unwrap();
        let (applied, membership): (Option<LogIdOf<Types>>, _) = match metadata.is_empty() {
            true => Default::default(),
            false => codec::decode(&metadata).unwrap(),
        };
        assert_eq!((format, sequence), (1, applied.map_or(0, |applied| applied.index)));
        Self { applied, membership, tables }
    }

    fn encode(self) -> Vec<u8> {
        let metadata = codec::encode(&(self.applied, self.membership)).unwrap();
        let sequence = self.applied.map_or(0, |applied| applied.index);
        let stored: Stored = (1, sequence, metadata, self.tables);
        codec::encode(&stored).unwrap()
    }

    pub fn numbers(&self) -> BTreeSet<u64> {
        self.tables.iter().map(|table| table.number).collect()
    }
}

fn manifest_path(dir: &Path) -> PathBuf {
    dir.join("state/MANIFEST")
}

fn table_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("state/table-{number}"))
}

fn manifest_content(disk: &SimDisk, dir: &Path) -> Vec<u8> {
    decode_framed(&disk.read(&manifest_path(dir)).unwrap(), false).unwrap()
}

pub fn manifest(disk: &SimDisk, dir: &Path) -> StoredManifest {
    StoredManifest::decode(&manifest_content(disk, dir))
}

pub fn change_manifest_content(disk: &SimDisk, dir: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = manifest_content(disk, dir);
    change(&mut content);
    let (bytes, _) = write_framed(&[FramedStep::Write(content), FramedStep::Sync]).unwrap();
    let path = manifest_path(dir);
    let mut file = disk.create(&path).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync().unwrap();
}

pub fn change_manifest(disk: &SimDisk, dir: &Path, change: impl FnOnce(&mut StoredManifest)) {
    let mut manifest = manifest(disk, dir);
    change(&mut manifest);
    change_manifest_content(disk, dir, |content| *content = manifest.encode());
}

/// The records of a table, as they are stored.
type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes another table in the place of this one.
pub fn change_table(disk: &SimDisk, dir: &Path, number: u64, change: impl FnOnce(&mut Records)) {
    let (factory, path) = (Arc::new(leveldb_on(disk, LevelDbOptions::default())), table_path(dir, number));
    let everything = ScanLimit { pairs: usize::MAX, bytes: usize::MAX };
    let table = factory.clone().open_table(&path).unwrap();
    let pairs = table.scan(&KeyRange::all(), everything).unwrap();
    drop(table);
    let mut records: Records = pairs.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    change(&mut records);
    disk.delete_dir(&path).unwrap();
    let mut writer = factory.write_table(&path).unwrap();
    records.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
    writer.finish().unwrap();
}

/// The numbers of the tables that there are, whether they count or not.
pub fn tables_there(disk: &dyn Disk, dir: &Path) -> BTreeSet<u64> {
    let names = disk.list(&dir.join("state")).unwrap();
    let number = |name: &PathBuf| name.to_str()?.strip_prefix("table-")?.parse().ok();
    names.iter().filter_map(number).collect()
}
