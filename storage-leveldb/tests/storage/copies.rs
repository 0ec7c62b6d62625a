//! A storage that was copied, or restored from a copy, may be older than what its node has
//! promised: it is refused. One that was only closed, killed or given another name is not.
//!
//! How it could go wrong: the copy's files are sound and belong together, so nothing else than
//! their birth times tells it from the original; and a file that is made at each opening must never
//! look like a copy, whenever the process ends. (The tests of crashes try that at every operation:
//! the simulated disk has birth times, too.)

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Register, Store, Types, changed, log_id, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{RaftLogReader, RaftTypeConfig, Vote};
use storage_leveldb::check::check;
use storage_leveldb::{Fault, Options, StorageError};

/// When a file was made; `None` where the file system does not say.
fn born(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).unwrap().created().ok()
}

/// Whether copies can be told here.
fn tells_birth_times(dir: &Path) -> bool {
    let tells = born(dir).is_some();
    if !tells {
        println!("SKIPPED: this file system does not say when a file was made");
    }
    tells
}

/// A copy that is younger than the original by the coarse clock of the file system.
fn copy_file(from: &Path, to: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        fs::copy(from, to).unwrap();
        if born(to) != born(from) {
            return;
        }
        assert!(Instant::now() < deadline, "{} is as old as its original", to.display());
        fs::remove_file(to).unwrap();
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let from = found.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() { copy_dir(&from, &to) } else { copy_file(&from, &to) }
    }
}

/// Copies each file under another name and renames it into its place, as rsync does.
fn restore_dir(from: &Path, to: &Path) {
    for found in fs::read_dir(from).unwrap() {
        let from = found.unwrap().path();
        let temporary = to.join(".restored");
        copy_file(&from, &temporary);
        fs::rename(&temporary, to.join(from.file_name().unwrap())).unwrap();
    }
}

async fn opened(dir: &Path) -> Store {
    open(dir, Options::default()).await.unwrap()
}

async fn refused(dir: &Path) -> Fault {
    match open(dir, Options::default()).await {
        Err(StorageError::Fault(fault)) => fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("a copy was opened"),
    }
}

fn names_the_copy(fault: &Fault, segment: &Path) {
    assert_eq!(fault.path, segment.join("WITNESS"), "{fault}");
    assert!(fault.reason.contains("a copy") && fault.reason.contains("accept_copy"), "{fault}");
}

async fn append(store: &mut Store, index: u64) {
    let entry = <Types as RaftTypeConfig>::Entry::new_blank(log_id(1, index));
    store.log.blocking_append([entry]).await.unwrap();
}

async fn last(store: &mut Store) -> Option<u64> {
    store.log.get_log_state().await.unwrap().last_log_id.map(|id| id.index)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_refused_until_it_is_accepted_and_the_original_is_not() {
    let place = tempfile::tempdir().unwrap();
    let [original, copy] = ["original", "copy"].map(|name| place.path().join(name));
    let mut store = opened(&original).await;
    store.log.save_vote(&Vote::new(3, 1)).await.unwrap();
    append(&mut store, 1).await;
    drop(store);
    if !tells_birth_times(&original) {
        return;
    }
    copy_dir(&original, &copy);
    // A refusal changes nothing.
    for _ in 0..2 {
        names_the_copy(&refused(&copy).await, &copy.join("log/segment-1"));
    }
    // Whether its files are sound may be asked of a copy, too.
    let report = check(&copy, Options::default(), Register, &|_, _, _| Ok(()), &mut |_| {}).unwrap();
    assert!(report.is_well() && report.problems.is_empty(), "{report:?}");
    assert_eq!(last(&mut opened(&original).await).await, Some(1));

    let mut store =
        open(&copy, changed(Options::default(), |options| options.accept_copy = true)).await.unwrap();
    append(&mut store, 2).await;
    drop(store);
    let mut store = opened(&copy).await;
    assert_eq!(last(&mut store).await, Some(2));
    let mut reader = store.log.get_log_reader().await;
    assert_eq!(reader.read_vote().await.unwrap(), Some(Vote::new(3, 1)));
}

/// The directory has lost nothing but its last writes: without the check an old state would vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_restored_in_place_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (dir, backup) = (place.path().join("storage"), place.path().join("backup"));
    let segment = dir.join("log/segment-1");
    let mut store = opened(&dir).await;
    append(&mut store, 1).await;
    // While the node runs, and once more when it does not.
    if !tells_birth_times(&dir) {
        return;
    }
    copy_dir(&segment, &backup);
    append(&mut store, 2).await;
    drop(store);
    restore_dir(&backup, &segment);
    names_the_copy(&refused(&dir).await, &segment);

    fs::remove_dir_all(&backup).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let mut store = opened(&dir).await;
    append(&mut store, 1).await;
    drop(store);
    copy_dir(&segment, &backup);
    append(&mut opened(&dir).await, 2).await;
    restore_dir(&backup, &segment);
    names_the_copy(&refused(&dir).await, &segment);
}

/// The same files under another name, after any end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_closed_killed_or_renamed_is_no_copy() {
    let place = tempfile::tempdir().unwrap();
    let (mut dir, mut other) = (place.path().join("storage"), place.path().join("renamed"));
    for round in 1..=4 {
        let mut store = opened(&dir).await;
        append(&mut store, round).await;
        if round % 2 == 0 {
            // From now on nothing is written any more, as if the process had been killed.
            store.health.latch(Fault::corrupt("test", "killed"));
        }
        drop(store);
        fs::rename(&dir, &other).unwrap();
        std::mem::swap(&mut dir, &mut other);
        assert_eq!(last(&mut opened(&dir).await).await, Some(round));
    }
}
