//! Memory that is full because the disk does not keep up.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::Set;
use crate::support::gated_disk::GatedDisk;
use crate::support::state_files::{manifest, tables_there};
use crate::support::{Types, changed, eventually, log_id};
use openraft::RaftSnapshotBuilder;
use openraft::entry::RaftEntry;
use openraft::storage::RaftStateMachine;
use storage_leveldb::StateMachine;
use storage_leveldb::observer::{Db, Observer, StallCause};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{DIR, Entry, Register, Store, apply, flush, open, options, set};

/// Four entries of `sized` fill one.
const MEMTABLE_BYTES: usize = 4000;
const ENTRIES_PER_MEMTABLE: u64 = 4;
/// One that is being written, one that waits to be, and one that is being filled: the entry that
/// fills it waits.
const MEMTABLES: u64 = 3;
const BOUND: u64 = MEMTABLES * ENTRIES_PER_MEMTABLE;
/// Nothing takes so long but what hangs.
const HANGS: Duration = Duration::from_secs(60);
/// With so many tables a flush waits for a compaction.
const MAX_TABLES: usize = 64;

fn sized(n: u64) -> Set {
    set(format!("key-{n:06}"), "v".repeat(900))
}

/// Applies entries one by one, up to `last`. `applied` counts those that have returned.
fn apply_up_to(
    mut state: StateMachine<Types, Register>,
    last: u64,
    applied: Arc<AtomicU64>,
) -> JoinHandle<Result<StateMachine<Types, Register>, std::io::Error>> {
    tokio::spawn(async move {
        for n in applied.load(Ordering::Relaxed) + 1..=last {
            let entry: Entry = Entry::new_normal(log_id(1, n), sized(n));
            state.apply(futures_util::stream::iter([Ok((entry, None))])).await?;
            applied.store(n, Ordering::Relaxed);
        }
        Ok(state)
    })
}

/// Stalls that were reported.
#[derive(Default)]
struct Stalls(Mutex<Vec<(Db, StallCause)>>);

impl Observer for Stalls {
    fn stalled(&self, db: Db, cause: StallCause, _: Duration) {
        self.0.lock().unwrap().push((db, cause));
    }
}

/// A storage whose flush is held, and with it the entry that fills memory, as well as those behind
/// it.
async fn full(disk: &GatedDisk, observer: Arc<Stalls>) -> (Store, Arc<AtomicU64>) {
    disk.hold("state-flush");
    let store =
        open(changed(options(disk.clone(), MEMTABLE_BYTES), |options| options.observer = observer)).await;
    (store, Arc::new(AtomicU64::new(0)))
}

/// Attacks the bound on memory, and the waiting at it: applying waits, reads do not, and everything
/// goes on when the disk does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_waits_for_a_flush_that_is_stuck_and_goes_on_with_it() {
    let (disk, stalls) = (GatedDisk::default(), Arc::new(Stalls::default()));
    let (Store { state, reader, health, log, .. }, applied) = full(&disk, stalls.clone()).await;
    let last = 10 * BOUND;
    let applying = apply_up_to(state, last, applied.clone());
    // The entry that fills the last memtable is in it before it has to wait.
    eventually("memory is full", || reader.query_blocking(100).unwrap().0 == BOUND).await;
    disk.wait_until_held("state-flush");
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(100) {
        let (at, pairs) = reader.query_blocking(5).unwrap();
        assert_eq!((at, pairs.len() as u64, applied.load(Ordering::Relaxed)), (BOUND, BOUND, BOUND - 1));
        tokio::task::yield_now().await;
    }
    disk.release();
    let state = timeout(HANGS, applying).await.expect("applying goes on").unwrap().unwrap();
    assert_eq!((reader.query_blocking(100).unwrap().1.len() as u64, health.fault()), (last, None));
    assert!(
        stalls.0.lock().unwrap().contains(&(Db::State, StallCause::Flush)),
        "nobody was told of the wait"
    );
    drop((state, reader, log));
    let store = open(options(disk, MEMTABLE_BYTES)).await;
    assert_eq!(store.reader.query(100).await.unwrap().0, last);
}

/// Attacks what waits when the disk fails instead: applying, a snapshot that waits to be
/// durable, and the close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_ends_the_wait_for_a_flush() {
    let disk = GatedDisk::default();
    let (mut store, applied) = full(&disk, Arc::default()).await;
    apply(&mut store.state, 1, [sized(1)]).await;
    applied.store(1, Ordering::Relaxed);
    let mut builder = store.state.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await.map(drop) });
    let applying = apply_up_to(store.state, 10 * BOUND, applied.clone());
    // The snapshot has sealed a memtable with one entry in it.
    let bound = BOUND - ENTRIES_PER_MEMTABLE + 1;
    eventually("memory is full", || store.reader.query_blocking(100).unwrap().0 == bound).await;
    disk.wait_until_held("state-flush");
    assert!(!building.is_finished());
    disk.fail();
    for end in [
        timeout(HANGS, building).await.expect("the snapshot ends").unwrap().unwrap_err(),
        timeout(HANGS, applying).await.expect("applying ends").unwrap().map(drop).unwrap_err(),
    ] {
        assert!(end.to_string().contains("the disk is gone"), "{end}");
    }
    let fault = store.health.fault().unwrap();
    assert!(
        fault.path.starts_with("node/state/table-1") && fault.reason.contains("the disk is gone"),
        "{fault}"
    );
    assert!(store.reader.query(1).await.is_err());
    // Nothing of it was durable.
    drop((store.reader, store.log));
    let disk = GatedDisk::over(disk.disk.copy());
    let mut store = open(options(disk, MEMTABLE_BYTES)).await;
    assert_eq!(store.state.applied_state().await.unwrap().0, None);
}

/// Attacks the close: it must wait for the flush, also if memory is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_a_flush_that_is_stuck() {
    let disk = GatedDisk::default();
    let (mut store, _) = full(&disk, Arc::default()).await;
    for n in 1..BOUND {
        apply(&mut store.state, n, [sized(n)]).await;
    }
    disk.wait_until_held("state-flush");
    let closing = tokio::task::spawn_blocking(move || drop(store));
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(50) {
        assert!(!closing.is_finished(), "closed, and not durable");
        tokio::task::yield_now().await;
    }
    disk.release();
    timeout(HANGS, closing).await.expect("the close ends").unwrap();
    let store = open(options(disk, MEMTABLE_BYTES)).await;
    let (at, pairs) = store.reader.query(100).await.unwrap();
    assert_eq!((at, pairs.len() as u64), (BOUND - 1, BOUND - 1));
}

/// Attacks the bound on tables: if compacting is stuck, flushes stop at so many, and with them
/// applying; all go on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_is_stuck_bounds_the_tables() {
    let (disk, dir) = (GatedDisk::default(), Path::new(DIR));
    disk.hold("state-compaction");
    let Store { state, reader, health, log, .. } = open(options(disk.clone(), MEMTABLE_BYTES)).await;
    let (applied, last) = (Arc::new(AtomicU64::new(0)), (2 * MAX_TABLES as u64) * ENTRIES_PER_MEMTABLE);
    let applying = apply_up_to(state, last, applied.clone());
    let most = MAX_TABLES as u64 * ENTRIES_PER_MEMTABLE + BOUND;
    eventually("tables and memory are full", || reader.query_blocking(1000).unwrap().0 == most).await;
    disk.wait_until_held("state-compaction");
    assert_eq!(manifest(&disk.disk, dir).tables.len(), MAX_TABLES);
    assert_eq!(applied.load(Ordering::Relaxed), most - 1);
    // All of them and the one that the compaction has begun.
    assert!(tables_there(&disk, dir).len() <= MAX_TABLES + 1);
    disk.release();
    let state = timeout(HANGS, applying).await.expect("applying goes on").unwrap().unwrap();
    assert_eq!((reader.query_blocking(1000).unwrap().1.len() as u64, health.fault()), (last, None));
    eventually("tables are few again", || tables_there(&disk, dir).len() < 12).await;
    drop((state, reader, log));
    let mut store = open(options(disk, MEMTABLE_BYTES)).await;
    assert_eq!(store.reader.query(1000).await.unwrap().0, last);
    flush(&mut store).await;
}
