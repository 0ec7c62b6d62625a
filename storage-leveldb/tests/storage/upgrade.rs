//! A directory of an older format becomes one of this, whatever interrupts it, and nothing of one that is refused is lost.
//!
//! How it could go wrong: the old is removed or changed before the new counts; what an interrupted upgrade left is
//! taken for the state; the older of state and snapshot wins; damage is copied and gets a good checksum.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::fixtures::{Made, SNAPSHOT, check_answers, fixture as frozen, id, membership};
use crate::support::{Register, Types, eventually, open};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{RaftLogReader, RaftTypeConfig};
use storage_leveldb::check::ProblemKind;
use storage_leveldb::testing::formats::{FramedStep, decode_framed, write_framed};
use storage_leveldb::testing::{Failure, Random, SimDisk, Survival, leveldb_on};
use storage_leveldb::{Batch, Disk, Durability, EngineFactory, LevelDbOptions, Options, StorageError};

const DIR: &str = "node";

fn options(disk: &SimDisk) -> Options {
    Options { disk: Arc::new(disk.clone()), ..Options::default() }
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let mut file = disk.create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

fn copy(from: &Path, disk: &SimDisk, to: &Path) {
    disk.create_dir(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let path = found.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, disk, &to) } else { put(disk, &to, &fs::read(&path).unwrap()) }
    }
    disk.sync_dir(to.parent().unwrap()).unwrap();
}

const OLD_FORMATS: [&str; 2] = ["format-1", "format-2"];

/// A fixture, all of it durable.
fn fixture_of(format: &str) -> SimDisk {
    let disk = SimDisk::default();
    copy(&frozen(format), &disk, Path::new(DIR));
    disk
}

fn fixture() -> SimDisk {
    fixture_of("format-1")
}

/// What a marker with this content is.
fn marker(content: &str) -> Vec<u8> {
    write_framed(&[FramedStep::Write(content.into()), FramedStep::Sync]).unwrap().0
}

/// What only older formats have, and FORMAT.
fn old_files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let is_old = |path: &Path| {
        let path = path.strip_prefix(DIR).unwrap();
        let is_new = ["log/ROOT", "log/ROOT.tmp"].iter().any(|new| path == Path::new(new));
        let is_in_log = path.parent() == Some(Path::new("log")) && !is_new;
        is_in_log
            || ["snapshot", "state/ACTIVE", "state/db-1", "state/db-2", "FORMAT"]
                .iter()
                .any(|old| path.starts_with(old))
    };
    let paths = disk.files().into_iter().map(|(path, _)| path).filter(|path| is_old(path));
    paths.map(|path| (path.clone(), disk.read(&path).unwrap())).collect()
}

/// Opens it and compares every answer; then nothing of an older format is left, and a check finds nothing wrong.
async fn is_upgraded(disk: &SimDisk, what: &str) {
    let store = open(Path::new(DIR), options(disk)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    check_answers(store, Made::BEFORE_5).await;
    let left: Vec<PathBuf> = old_files(disk).into_keys().collect();
    assert_eq!(left, [Path::new(DIR).join("FORMAT")], "{what}");
    assert!(is_well(disk), "{what}");
}

fn is_well(disk: &SimDisk) -> bool {
    let report = storage_leveldb::check::check::<Types, _>(
        Path::new(DIR),
        options(disk),
        Register,
        &|_, _, _| Ok(()),
        &mut |_| {},
    );
    let report = report.unwrap();
    assert!(report.problems.iter().all(|problem| problem.kind == ProblemKind::OtherFormat), "{report:?}");
    report.is_well()
}

/// The disk in the middle of each operation of an upgrade.
async fn moments(disk: &SimDisk) -> Vec<(String, SimDisk)> {
    let moments = Arc::new(Mutex::new(Vec::new()));
    let sink = moments.clone();
    disk.watch(move |moment| {
        let what = format!("{} {} {}", moment.number, moment.kind, moment.path.display());
        sink.lock().unwrap().push((what, moment.copy()));
    });
    drop(open(Path::new(DIR), options(disk)).await.unwrap());
    disk.watch(|_| {});
    std::mem::take(&mut *moments.lock().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_may_fail_at_any_operation_of_an_upgrade() {
    for format in OLD_FORMATS {
        let mut random = Random::new(7);
        let (mut crashes, mut second_crashes, mut with_both) = (0, 0, 0);
        for (what, moment) in moments(&fixture_of(format)).await {
            let seeds = [random.number(), random.number()].map(Survival::Random);
            for survival in [Survival::Nothing, Survival::Everything].into_iter().chain(seeds) {
                crashes += 1;
                let what = format!("{format}, {what}, {survival:?}");
                let left = moment.reboot(survival);
                let is_upgraded_now = is_well(&left);
                let log = left.list(&Path::new(DIR).join("log")).unwrap_or_default();
                with_both += u64::from(is_upgraded_now && log.contains(&PathBuf::from("CURRENT")));
                let again = left.copy();
                is_upgraded(&left, &what).await;
                let mut next = moments(&again).await;
                if !next.is_empty() {
                    second_crashes += 1;
                    let (then, moment) = next.swap_remove(random.position(next.len()));
                    let left = moment.reboot(Survival::Random(random.number()));
                    is_upgraded(&left, &format!("{what}; {then}")).await;
                }
            }
        }
        println!(
            "{format}: {crashes} crashes, {second_crashes} after them, {with_both} with the old beside the new"
        );
        assert!(crashes > 300 && second_crashes > 300 && with_both > 10);
    }
}

/// A log of format 3 goes on in a segment of this format, in one that lay ready or, if none did, a new one; the power fails
/// at any operation of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_power_may_fail_while_a_log_of_format_3_goes_on() {
    let without_next = fixture_of("format-3");
    forget_last_segment(&without_next);
    for (fixture, kind) in [(fixture_of("format-3"), "one ready"), (without_next, "none ready")] {
        let (mut random, mut crashes) = (Random::new(5), 0);
        for (what, moment) in moments(&fixture).await {
            let random = [random.number(), random.number()].map(Survival::Random);
            for survival in [Survival::Nothing, Survival::Everything].into_iter().chain(random) {
                crashes += 1;
                is_upgraded(&moment.reboot(survival), &format!("{kind}, {what}, {survival:?}")).await;
            }
        }
        println!("{kind}: {crashes} crashes");
        assert!(crashes > 30);
    }
}

/// As if the power had failed before ROOT named the segment that was being prepared.
fn forget_last_segment(disk: &SimDisk) {
    type Stored = (u8, Option<openraft::type_config::alias::LogIdOf<Types>>, Vec<(u64, u32)>);
    let path = Path::new(DIR).join("log/ROOT");
    let content = decode_framed(&disk.read(&path).unwrap(), false).unwrap();
    let mut stored: Stored = codec::decode(&content).unwrap();
    stored.2.pop().unwrap();
    let content = codec::encode(&stored).unwrap();
    put(disk, &path, &write_framed(&[FramedStep::Write(content), FramedStep::Sync]).unwrap().0);
}

/// What a segment of format 3 holds is read when it has become a run, and a truncation reaches into it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_format_3_is_stored_and_truncated_like_any_other() {
    const FROM: u64 = 57;
    let disk = fixture_of("format-3");
    let log = Path::new(DIR).join("log");
    let runs =
        || disk.list(&log).unwrap().iter().filter(|name| name.to_string_lossy().starts_with("run-")).count();
    let before = runs();
    let store = open(Path::new(DIR), options(&disk)).await.unwrap();
    eventually("the oldest database has become a run", || runs() > before).await;
    check_answers(store, Made::BEFORE_5).await;
    check_answers(open(Path::new(DIR), options(&disk)).await.unwrap(), Made::BEFORE_5).await;

    let mut store = open(Path::new(DIR), options(&disk)).await.unwrap();
    store.log.truncate_after(Some(id(FROM - 1))).await.unwrap();
    let entries = [FROM, FROM + 1].map(|index| <Types as RaftTypeConfig>::Entry::new_blank(id(index)));
    store.log.blocking_append(entries.clone()).await.unwrap();
    drop(store);
    let mut store = open(Path::new(DIR), options(&disk)).await.unwrap();
    let read = store.log.get_log_reader().await.try_get_log_entries(FROM - 1..).await.unwrap();
    assert_eq!((read.len(), &read[1..]), (3, &entries[..]));
}

/// The disk is full, or fails, at any operation: refused, and the next start upgrades what is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_operation_of_an_upgrade_may_fail() {
    for format in OLD_FORMATS {
        let (mut at, mut refused) = (0, 0);
        loop {
            at += 1;
            let disk = fixture_of(format);
            disk.fail_at(disk.operations() + at, Failure::ShortWrite(ErrorKind::StorageFull));
            match open(Path::new(DIR), options(&disk)).await {
                Ok(_) if !disk.has_failed() => break,
                // The old that could not be removed is found by the next start. What failed may have been tried by the
                // thread that tidies the log, which tells a moment later.
                Ok(store) => {
                    let what = format!("somebody is told that operation {at} failed");
                    eventually(&what, || store.health.fault().is_some()).await;
                }
                Err(StorageError::Fault(_)) => refused += 1,
                Err(other) => panic!("operation {at}: {other}"),
            }
            is_upgraded(&disk, &format!("{format}, operation {at} failed")).await;
        }
        println!("{format}: {refused} of {at} failures refused");
        assert!(refused > 60);
    }
}

/// What can happen to a file; `None`: it does not apply.
fn harm(disk: &SimDisk, path: &Path, kind: u64, random: &mut Random) -> bool {
    let len = disk.read(path).unwrap().len();
    match kind {
        0 => disk.remove(path),
        1 => disk.truncate(path, random.position(len)),
        _ => disk.flip_bit(path, random.position(len), (random.number() % 8) as u8),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_refused_and_nothing_is_removed() {
    let (fixture, mut random) = (fixture(), Random::new(11));
    let (mut refused, mut harmless) = (0, Vec::new());
    for path in old_files(&fixture).into_keys() {
        for kind in 0..12 {
            let disk = fixture.copy();
            assert!(harm(&disk, &path, kind, &mut random));
            let (what, before) = (format!("{}, {kind}", path.display()), old_files(&disk));
            match open(Path::new(DIR), options(&disk)).await {
                Ok(store) => {
                    check_answers(store, Made::BEFORE_5).await;
                    harmless.push(path.clone());
                }
                Err(StorageError::Fault(fault)) => {
                    refused += 1;
                    // What is missing, LevelDB's directory is named for.
                    let is_named = fault.path == path || kind == 0 && path.starts_with(&fault.path);
                    // A shorter WITNESS is an older one, and may tell of a file that has gone since.
                    let is_named =
                        is_named || path.ends_with("WITNESS") && fault.path.parent() == path.parent();
                    assert!(is_named, "{what}: {fault}");
                    assert!(old_files(&disk) == before, "{what}: something was changed");
                    assert!(disk.put_back(&path, &fixture));
                    is_upgraded(&disk, &what).await;
                }
                Err(other) => panic!("{what}: {other}"),
            }
        }
    }
    println!("{refused} refused, {} harmless", harmless.len());
    assert!(refused > 90);
    // Of a WITNESS the last record counts. Of a snapshot that is older than the state nothing is needed but its position.
    for path in harmless {
        let is_unneeded = path.ends_with("WITNESS") || path.extension().is_some_and(|end| end == "snap");
        assert!(is_unneeded, "{} was damaged", path.display());
    }
}

/// Gives the fixture a state that has applied less than its own.
fn with_older_state(disk: &SimDisk, applied: Option<u64>) {
    let (state, last) = (Path::new(DIR).join("state"), applied.unwrap_or(0));
    let mut batch = Batch::default();
    batch.put(b"!format".to_vec(), vec![1].into());
    if let Some(applied) = applied {
        batch.put(b"!applied".to_vec(), codec::encode(&id(applied)).unwrap().into());
        for (key, value) in Made::BEFORE_5.pairs(last) {
            batch.put(format!("a{key}").into_bytes(), value.into_bytes().into());
        }
    }
    let engine = leveldb_on(disk, LevelDbOptions::default());
    engine.open(&state.join("db-2")).unwrap().write(batch, Durability::Synced).unwrap();
    put(disk, &state.join("ACTIVE"), &marker("db-2"));
}

/// A crash came after a received snapshot counted and before the state that was made of it did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_newer_than_the_state_becomes_the_state() {
    for applied in [None, Some(10), Some(SNAPSHOT - 1)] {
        let disk = fixture();
        with_older_state(&disk, applied);
        for _ in 0..2 {
            let mut store = open(Path::new(DIR), options(&disk)).await.unwrap();
            let (applied, membership_now) = store.state.applied_state().await.unwrap();
            assert_eq!(applied, Some(id(SNAPSHOT)));
            assert_eq!(membership_now.membership(), &membership(35));
            assert_eq!(store.reader.query(()).await.unwrap(), Made::BEFORE_5.pairs(SNAPSHOT));
        }
    }
}

/// The same, and ACTIVE does not name the first snapshot yet: it counts, because its name does not come before it is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_was_not_named_yet_counts() {
    let disk = fixture();
    with_older_state(&disk, Some(10));
    put(&disk, &Path::new(DIR).join("snapshot/ACTIVE"), &marker("none"));
    let mut store = open(Path::new(DIR), options(&disk)).await.unwrap();
    assert_eq!(store.state.applied_state().await.unwrap().0, Some(id(SNAPSHOT)));
}

/// Refused, naming this and with this reason, and nothing of the old has changed.
async fn is_refused(disk: &SimDisk, path: &Path, reason: &str) {
    let before = old_files(disk);
    match open(Path::new(DIR), options(disk)).await {
        Err(StorageError::Fault(fault)) => {
            assert_eq!(fault.path, path, "{fault}");
            assert!(fault.reason.contains(reason), "{fault}");
        }
        other => panic!("{:?}", other.err()),
    }
    assert!(old_files(disk) == before, "{reason}: something was changed");
}

/// Every byte of a snapshot that is needed is verified before it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_that_is_needed_is_refused() {
    let disk = fixture();
    with_older_state(&disk, Some(10));
    let is_snapshot = |path: &&PathBuf| path.extension().is_some_and(|end| end == "snap");
    let path = old_files(&disk).into_keys().find(|path| is_snapshot(&path)).unwrap();
    for at in 0..disk.read(&path).unwrap().len() {
        let disk = disk.copy();
        assert!(disk.flip_bit(&path, at, 3));
        is_refused(&disk, &path, "").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_older_than_what_the_log_has_purged_is_refused() {
    let disk = fixture();
    with_older_state(&disk, Some(10));
    let snapshot = Path::new(DIR).join("snapshot");
    disk.delete_dir(&snapshot).unwrap();
    disk.create_dir(&snapshot).unwrap();
    put(&disk, &snapshot.join("ACTIVE"), &marker("none"));
    is_refused(&disk, Path::new(DIR), "purged up to entry 20, but the state ends at entry 10").await;
}

/// Without FORMAT and log it looks like a new directory to whoever does not know format 1, who would remove its state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_without_format_and_log_is_not_taken_for_a_new_one() {
    let format = Path::new(DIR).join("FORMAT");
    let disk = fixture();
    assert!(disk.remove(&format));
    disk.delete_dir(&Path::new(DIR).join("log")).unwrap();
    is_refused(&disk, &format, "in use").await;
    with_older_state(&disk, None);
    is_refused(&disk, &format, "in use").await;
}

/// The first start of an old version, interrupted before there was anything in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_an_old_version_did_not_finish_is_new() {
    let (disk, state) = (SimDisk::default(), Path::new(DIR).join("state"));
    disk.create_dir(&state).unwrap();
    put(&disk, &state.join("ACTIVE"), &marker("db-1"));
    let mut store = open(Path::new(DIR), options(&disk)).await.unwrap();
    assert_eq!(store.state.applied_state().await.unwrap().0, None);
    drop(store);
    assert!(is_well(&disk));
}

/// An operator who checks before the upgrade learns that there will be one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_that_a_start_will_upgrade() {
    let report = storage_leveldb::check::check::<Types, _>(
        Path::new(DIR),
        options(&fixture()),
        Register,
        &|_, _, _| Ok(()),
        &mut |_| {},
    );
    let report = report.unwrap();
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert_eq!((problem.kind, &problem.path), (ProblemKind::OtherFormat, &Path::new(DIR).join("FORMAT")));
    assert!(problem.reason.contains("started on it makes it format 5"), "{problem:?}");
}
