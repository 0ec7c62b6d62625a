//! The room that the log makes in its files before it needs it, so that a sync has nothing to wait for but what was written.
//!
//! How it could go wrong: what is reserved is taken for records, or replaces some; a log that grows in steps waits as often as
//! before; a node that does nothing takes the space of one that works. (That a power
//! failure at any moment of it loses nothing is the crash test's business, whose logs grow in steps, too.)

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::support::{Set, Types, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{RaftLogReader, RaftTypeConfig};
use storage_leveldb::testing::{OperationKind, SimDisk};
use storage_leveldb::{LevelDbOptions, Options};

const STEP_BYTES: u64 = 16 << 10;
const SEGMENT_BYTES: u64 = 256 << 10;
const VALUE_BYTES: usize = 1000;

type Entry = <Types as RaftTypeConfig>::Entry;

fn entry(index: u64) -> Entry {
    Entry::new_normal(log_id(1, index), Set { key: format!("k{index}"), value: "v".repeat(VALUE_BYTES) })
}

fn options(disk: &SimDisk) -> Options {
    let log_leveldb = LevelDbOptions {
        write_buffer_bytes: 4 << 20,
        log_step_bytes: STEP_BYTES,
        ..LevelDbOptions::default()
    };
    Options {
        disk: Arc::new(disk.clone()),
        log_segment_bytes: SEGMENT_BYTES,
        log_leveldb,
        ..Options::default()
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// The logs of the log's LevelDBs, with their lengths.
fn logs(disk: &SimDisk) -> Vec<(PathBuf, usize)> {
    disk.files().into_iter().filter(|(path, _)| is_log(path)).collect()
}

/// The file of each time that a log was made longer in advance.
#[derive(Clone, Default)]
struct Reservations(Arc<Mutex<Vec<PathBuf>>>);

impl Reservations {
    fn on(disk: &SimDisk) -> Self {
        let this = Self::default();
        let seen = this.clone();
        disk.watch(move |moment| {
            if moment.kind == OperationKind::Reserve {
                assert!(is_log(moment.path), "{}", moment.path.display());
                seen.0.lock().unwrap().push(moment.path.to_owned());
            }
        });
        this
    }

    fn of(&self, path: &Path) -> usize {
        self.0.lock().unwrap().iter().filter(|reserved| *reserved == path).count()
    }
}

/// What was written is there after a restart, and nothing of the zeros behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_grows_in_steps_and_reads_as_what_was_written() {
    let disk = SimDisk::default();
    let reservations = Reservations::on(&disk);
    let mut store = open(Path::new("node"), options(&disk)).await.unwrap();
    let idle: usize = logs(&disk).iter().map(|(_, len)| len).sum();
    assert!(idle <= 2 * (STEP_BYTES as usize + 64), "{idle} bytes for a log of nothing");
    for index in 1..=64 {
        store.log.blocking_append([entry(index)]).await.unwrap();
    }
    let (active, len) = logs(&disk).into_iter().max_by_key(|(_, len)| *len).unwrap();
    let written = 64 * VALUE_BYTES;
    let steps = reservations.of(&active);
    assert!(len >= written && len < 2 * written, "{len} bytes");
    assert!((2..=written / STEP_BYTES as usize + 2).contains(&steps), "{steps} steps for 64 appends");
    drop(store);

    let mut store = open(Path::new("node"), options(&disk)).await.unwrap();
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 64)));
    let entries = store.log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    assert!(entries == (1..=64).map(entry).collect::<Vec<_>>());
}
