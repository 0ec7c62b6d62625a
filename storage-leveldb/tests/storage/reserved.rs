//! The room that the log makes in its files before it needs it, so that a sync has nothing to wait
//! for but what was written.
//!
//! How it could go wrong: what is reserved is taken for records, or replaces some; a log that grows
//! in steps waits as often as before; a node that does nothing takes the space of one that works; a
//! write waits until room has been made. (That a power failure at any moment of it loses nothing is
//! the crash test's business, whose logs grow in steps, too.)

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{Set, Types, changed, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{RaftLogReader, RaftTypeConfig};
use storage_leveldb::Options;
use storage_leveldb::testing::engine::LevelDbOptions;
use storage_leveldb::testing::{OperationKind, SimDisk};

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
    changed(Options::default().with_disk(Arc::new(disk.clone())).with_log_leveldb(log_leveldb), |options| {
        options.log_segment_bytes = SEGMENT_BYTES
    })
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

fn eventually<T>(what: &str, get: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = get() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::yield_now();
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

/// All of the next segment's room is made while the active one is half full, and none of it while
/// a caller waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_segment_has_its_room_before_it_is_begun() {
    let disk = SimDisk::default();
    let reservations = Reservations::on(&disk);
    let mut store = open(Path::new("node"), options(&disk)).await.unwrap();
    let has_room =
        || logs(&disk).into_iter().find(|(_, len)| *len as u64 >= SEGMENT_BYTES).map(|(path, _)| path);
    let mut last = 0;
    // A pair of the segment's database takes some more in memory than its bytes.
    while last < SEGMENT_BYTES / VALUE_BYTES as u64 * 6 / 10 {
        last += 1;
        store.log.blocking_append([entry(last)]).await.unwrap();
    }
    let next = eventually("room for the next segment", has_room);
    let (steps, idle_bytes) = (reservations.of(&next), disk.read(&next).unwrap());
    assert!(steps as u64 >= SEGMENT_BYTES / STEP_BYTES, "{steps} steps");
    // It is begun, and half filled.
    let written = |content: &[u8]| content.iter().rposition(|byte| *byte != 0).unwrap();
    let before = written(&idle_bytes);
    while written(&disk.read(&next).unwrap()) < before + SEGMENT_BYTES as usize / 2 {
        last += 1;
        assert!(last < 10 * SEGMENT_BYTES / VALUE_BYTES as u64, "the segment with the room is never begun");
        store.log.blocking_append([entry(last)]).await.unwrap();
    }
    assert_eq!(reservations.of(&next), steps, "room was made while appends waited");
    drop(store);

    let mut store = open(Path::new("node"), options(&disk)).await.unwrap();
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, last)));
}
