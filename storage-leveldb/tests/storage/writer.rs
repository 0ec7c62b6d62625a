//! One thread takes what was asked for, writes it and calls back: that of the segment.
//!
//! How it could go wrong: a row of groups that never ends starves readers; a read that makes a
//! write wait is not counted; after a failed write the next group goes to an engine that must not
//! be called any more; a caller that waits is never told; the thread sleeps while something waits;
//! a log that is closed loses what was asked for, or its database stays open; what is asked for on
//! the way from one segment to the next comes in another order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::{Set, Store, Types, changed, eventually, log_id, open};
use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::type_config::TypeConfigExt;
use openraft::{RaftLogReader, RaftTypeConfig};
use storage_leveldb::health::FaultKind;
use storage_leveldb::observer::{Db, Observer, StallCause};
use storage_leveldb::raft::LogReader;
use storage_leveldb::scan::{KeyRange, ScanLimit};
use storage_leveldb::testing::engine::{Batch, Durability, Engine, EngineFactory, MemoryEngine, Op};
use storage_leveldb::{Fault, Options, StorageError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What the key of an entry block begins with.
const ENTRY: u8 = 1;
/// Nothing takes so long but what hangs.
const HANGS: Duration = Duration::from_secs(60);

fn entry(index: u64) -> <Types as RaftTypeConfig>::Entry {
    RaftEntry::new_normal(log_id(1, index), Set { key: format!("k{index}"), value: "v".repeat(100) })
}

/// What holds scans or appends back.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
    has_held: AtomicBool,
}

impl Gate {
    fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let closed = self.is_closed.lock().unwrap();
        self.waiting.store(*closed, Ordering::SeqCst);
        self.has_held.fetch_or(*closed, Ordering::SeqCst);
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
        self.waiting.store(false, Ordering::SeqCst);
    }
}

/// An engine whose scans and appends can be held back, and whose writes can be made to fail, or to
/// end only when there is more to be written. It knows of no latch.
#[derive(Clone, Default)]
struct Tried {
    inner: MemoryEngine,
    scans: Arc<Gate>,
    writes: Arc<Gate>,
    is_endless: Arc<AtomicBool>,
    /// Appends that have been asked for.
    asked: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
}

impl Tried {
    fn options(&self) -> Options {
        // What is durable is read from the engine.
        changed(Options::default().with_engine(Arc::new(self.clone())), |options| options.tail_bytes = 0)
    }
}

struct Open(Box<dyn Engine>, Tried);

impl EngineFactory for Tried {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, StorageError> {
        Ok(Box::new(Open(self.inner.open(dir)?, self.clone())))
    }

    fn exists(&self, dir: &Path) -> Result<bool, StorageError> {
        self.inner.exists(dir)
    }
}

impl Engine for Open {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.0.get(key)
    }

    fn write(&mut self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        if self.1.fails.load(Ordering::SeqCst) {
            self.1.failed.fetch_add(1, Ordering::SeqCst);
            return Err(Fault::new(FaultKind::NoSpace, "a file", "it is full").into());
        }
        // Nothing but appends, so that the maintenance goes on.
        if batch.ops().iter().any(|op| matches!(op, Op::Put(key, _) if key.first() == Some(&ENTRY))) {
            self.1.writes.pass();
        }
        // One may have been asked for, be in this batch, and not have been counted yet.
        let enough = self.1.asked.load(Ordering::SeqCst) + 2;
        while self.1.is_endless.load(Ordering::SeqCst) && self.1.asked.load(Ordering::SeqCst) < enough {
            std::thread::yield_now();
        }
        self.0.write(batch, durability)
    }

    fn scan(&mut self, range: &KeyRange, limit: ScanLimit) -> Result<Vec<(Bytes, Bytes)>, StorageError> {
        self.1.scans.pass();
        self.0.scan(range, limit)
    }
}

#[derive(Default)]
struct Stalls(Mutex<Vec<(Db, StallCause)>>);

impl Observer for Stalls {
    fn stalled(&self, db: Db, cause: StallCause, _: Duration) {
        self.0.lock().unwrap().push((db, cause));
    }
}

type Read = (Result<(), std::io::Error>, LogReader<Types>);

/// A read of the first entry that is held back. Shortly after an append it is still answered from
/// memory; so it is tried again.
async fn held_read(mut reader: LogReader<Types>, engine: &Tried) -> JoinHandle<Read> {
    let scans = engine.scans.clone();
    scans.has_held.store(false, Ordering::SeqCst);
    let read = tokio::spawn(async move {
        loop {
            let result = reader.limited_get_log_entries(1, 2).await.map(drop);
            if result.is_err() || scans.has_held.load(Ordering::SeqCst) {
                return (result, reader);
            }
            tokio::task::yield_now().await;
        }
    });
    eventually("a scan", || engine.scans.waiting.load(Ordering::SeqCst)).await;
    read
}

/// An operator must be able to tell a slow reader from a slow disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_a_read_is_told_as_a_stall_of_the_reader() {
    let (dir, engine, stalls) = (tempfile::tempdir().unwrap(), Tried::default(), Arc::new(Stalls::default()));
    let mut options = engine.options();
    options.observer = stalls.clone();
    let mut store = open(dir.path(), options).await.unwrap();
    let mut reader = store.log.get_log_reader().await;
    // On a busy machine the write may come to the thread only when the read is over.
    for index in (1..400).step_by(2) {
        store.log.blocking_append([entry(index)]).await.unwrap();
        engine.scans.close();
        let read = held_read(reader, &engine).await;
        let (done, flushed) = Types::oneshot();
        store.log.append([entry(index + 1)], IOFlushed::signal(done)).await.unwrap();
        // The slowness itself; nothing waits for it to have passed.
        tokio::time::sleep(Duration::from_millis(20)).await;
        engine.scans.open();
        timeout(HANGS, flushed).await.expect("the append ends").unwrap().unwrap();
        let (result, back) = timeout(HANGS, read).await.expect("the read ends").unwrap();
        result.unwrap();
        reader = back;
        if stalls.0.lock().unwrap().contains(&(Db::Log, StallCause::Reader)) {
            return;
        }
    }
    panic!("{:?}", stalls.0.lock().unwrap());
}

/// Appends entry after entry, so that there is always a next group, until the engine says that it
/// is enough.
async fn never_stop(mut store: Store, engine: Tried, first: u64) -> (Store, u64) {
    let mut index = first;
    while engine.is_endless.load(Ordering::SeqCst) {
        store.log.append([entry(index)], IOFlushed::noop()).await.unwrap();
        engine.asked.fetch_add(1, Ordering::SeqCst);
        index += 1;
    }
    store.log.blocking_append([entry(index)]).await.unwrap();
    (store, index)
}

/// Ends the row of groups when the test fails, too: else its threads would never come to their end.
struct EndsTheRow(Tried);

impl Drop for EndsTheRow {
    fn drop(&mut self) {
        self.0.is_endless.store(false, Ordering::SeqCst);
    }
}

/// As long as groups follow each other a reader that is behind the tail is served between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_not_starved_by_writes_that_never_stop() {
    // A read asks the segment some 60 times, and between two of them a group waits for two appends:
    // on a busy machine that takes seconds. (With 300 reads of at most 15 s this test failed on one
    // that was.)
    const READS: u64 = 3;
    let (dir, engine) = (tempfile::tempdir().unwrap(), Tried::default());
    // So large that the segment is never full, which would end the row.
    let mut options = engine.options();
    options.log_segment_bytes = u64::MAX;
    let mut store = open(dir.path(), options).await.unwrap();
    store.log.blocking_append((1..=100).map(entry)).await.unwrap();
    let mut reader = store.log.get_log_reader().await;
    engine.is_endless.store(true, Ordering::SeqCst);
    let row = EndsTheRow(engine.clone());
    let writer = tokio::spawn(never_stop(store, engine, 101));
    for _ in 0..READS {
        let read =
            timeout(HANGS, reader.limited_get_log_entries(1, 101)).await.expect("a read ends").unwrap();
        assert_eq!(read.first(), Some(&entry(1)));
    }
    drop(row);
    let (mut store, last) = timeout(HANGS, writer).await.expect("the writer ends").unwrap();
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, last)));
}

/// All callers hear of it, those of the groups behind it, too, and the engine is not asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_write_that_failed_nothing_is_written() {
    let (dir, engine) = (tempfile::tempdir().unwrap(), Tried::default());
    let mut store = open(dir.path(), engine.options()).await.unwrap();
    store.log.blocking_append((1..=10).map(entry)).await.unwrap();
    engine.scans.close();
    let read = held_read(store.log.get_log_reader().await, &engine).await;
    // They wait behind the scan; each is too large to be in one group with another.
    let large = |index| {
        let value = "v".repeat(8 << 20);
        RaftEntry::new_normal(log_id(1, index), Set { key: "large".to_owned(), value })
    };
    let mut under_way = Vec::new();
    for index in 11..=14 {
        let (done, flushed) = Types::oneshot();
        store.log.append([large(index)], IOFlushed::signal(done)).await.unwrap();
        under_way.push(flushed);
    }
    engine.fails.store(true, Ordering::SeqCst);
    engine.scans.open();
    for flushed in under_way {
        let told = timeout(HANGS, flushed).await.expect("an append ends");
        assert!(told.is_err() || told.unwrap().is_err(), "acknowledged, and nothing is durable");
    }
    assert_eq!(engine.failed.load(Ordering::SeqCst), 1, "writes after the one that failed");
    assert!(store.health.fault().unwrap().reason.contains("it is full"));
    drop(read.await.unwrap());
    timeout(HANGS, tokio::task::spawn_blocking(move || drop(store))).await.expect("the close ends").unwrap();
}

/// What was asked for is written before the log is closed, and what is asked for is in one order
/// whatever segment it goes to.
///
/// The first version let go of the segment after it had told that it had ended, so that a storage
/// that was opened again at once was busy; `entry_blocks` found it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_close_waits_for_what_was_asked_for() {
    const APPENDS: u64 = 200;
    let (dir, engine) = (tempfile::tempdir().unwrap(), Tried::default());
    // A segment is full with three of them.
    let options = changed(engine.options(), |options| options.log_segment_bytes = 1000);
    let mut store = open(dir.path(), options.clone()).await.unwrap();
    engine.writes.close();
    for index in 1..=APPENDS {
        store.log.append([entry(index)], IOFlushed::noop()).await.unwrap();
    }
    eventually("a write", || engine.writes.waiting.load(Ordering::SeqCst)).await;
    let closed = tokio::task::spawn_blocking(move || drop(store));
    // Time for a close that does not wait; nothing else waits for it to have passed.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!closed.is_finished(), "closed, and nothing is written");
    engine.writes.open();
    timeout(HANGS, closed).await.expect("the close ends").unwrap();
    let mut store = open(dir.path(), options).await.unwrap();
    let read = store.log.get_log_reader().await.try_get_log_entries(1..=APPENDS).await.unwrap();
    assert_eq!(read, (1..=APPENDS).map(entry).collect::<Vec<_>>());
}

/// One append after the other, so that the thread falls asleep before each, and a reader that wakes
/// it, too: whatever comes last before it sleeps is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_never_sleeps_while_something_waits() {
    const APPENDS: u64 = 2000;
    let (dir, engine) = (tempfile::tempdir().unwrap(), Tried::default());
    // In some 100 segments.
    let options = changed(engine.options(), |options| options.log_segment_bytes = 5000);
    let mut store = open(dir.path(), options).await.unwrap();
    store.log.blocking_append([entry(1)]).await.unwrap();
    let mut reader = store.log.get_log_reader().await;
    let reads = tokio::spawn(async move {
        for last in (1..=APPENDS).step_by(7) {
            let read = timeout(HANGS, reader.limited_get_log_entries(1, last + 1)).await;
            assert_eq!(read.expect("a read ends").unwrap().first(), Some(&entry(1)));
        }
    });
    for index in 2..=APPENDS {
        let append = store.log.blocking_append([entry(index)]);
        timeout(HANGS, append).await.expect("an append ends").unwrap();
    }
    reads.await.unwrap();
}
