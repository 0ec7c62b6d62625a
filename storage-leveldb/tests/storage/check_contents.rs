//! Records that every checksum covers and that are wrong all the same, written through the engine: only decoding shows
//! them.

use std::path::Path;

use crate::check::{DIR, ENTRIES, check, entry, filled_disk, on, try_check};
use crate::support::{log_id, open};
use openraft::Vote;
use storage_leveldb::check::{ProblemKind, Report};
use storage_leveldb::testing::{SimDisk, leveldb_on};
use storage_leveldb::{Batch, Durability, EngineFactory};

fn entry_key(index: u64) -> Vec<u8> {
    [&[1][..], &index.to_be_bytes()].concat()
}

fn mark(name: &str) -> Vec<u8> {
    [&[0xff], name.as_bytes()].concat()
}

/// Changes a database behind the storage's back.
fn change(disk: &SimDisk, database: &str, put: &[(Vec<u8>, Vec<u8>)], delete: &[Vec<u8>]) {
    let mut engine = leveldb_on(disk, on(disk).log_leveldb).open(&Path::new(DIR).join(database)).unwrap();
    let mut batch = Batch::default();
    delete.iter().for_each(|key| batch.delete(key.clone()));
    put.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone().into()));
    engine.write(batch, Durability::Synced).unwrap();
}

/// A filled disk with these changes of one database, checked.
async fn with(database: &str, put: &[(Vec<u8>, Vec<u8>)], delete: &[Vec<u8>]) -> Report {
    let disk = filled_disk().await;
    change(&disk, database, put, delete);
    check(&disk)
}

fn assert_found(report: &Report, reason: &str) {
    let found = report.problems.iter().any(|problem| problem.reason.contains(reason));
    assert!(found, "no '{reason}' in {:#?}", report.problems);
}

fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    codec::encode(value).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_where_nothing_is_wrong() {
    let report = with("log", &[(entry_key(40), encoded(&entry(2, 40)))], &[]).await;
    assert_eq!(report.problems, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_log_is_found() {
    assert_found(
        &with("log", &[], &[entry_key(40), entry_key(41)]).await,
        "log entries 40 to 41 are missing",
    );
    assert_found(&with("log", &[], &[entry_key(17)]).await, "log entries 17 to 17 are missing");
    // Far behind the end: where halving steps do not look.
    let far = (entry_key(ENTRIES + 2000), encoded(&entry(3, ENTRIES + 2000)));
    assert_found(&with("log", &[far], &[]).await, "log entries 61 to 2059 are missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_in_the_wrong_place_is_found() {
    let other = (entry_key(40), encoded(&entry(2, 41)));
    assert_found(&with("log", &[other], &[]).await, "log entry 40 says it is entry 41");
    let old = (entry_key(58), encoded(&entry(1, 58)));
    assert_found(&with("log", &[old], &[]).await, "its term is older");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_does_not_decode_is_found() {
    for index in [17, 40, ENTRIES] {
        let report = with("log", &[(entry_key(index), vec![0xee; 9])], &[]).await;
        assert_found(&report, &format!("log entry {index}: "));
    }
    for name in ["vote", "purged", "committed"] {
        assert!(!with("log", &[(mark(name), vec![0xee; 9])], &[]).await.is_well(), "{name}");
    }
    for key in ["!applied", "!membership"] {
        assert!(!with("state/db-1", &[(key.into(), vec![0xee; 9])], &[]).await.is_well(), "{key}");
    }
    assert_found(&with("log", &[(vec![7, 7], vec![])], &[]).await, "unknown key");
    assert_found(&with("state/db-1", &[(b"zebra".to_vec(), vec![])], &[]).await, "unknown key zebra");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_older_than_the_log_is_found() {
    let old = (mark("vote"), encoded(&Vote::<crate::check_contents::LeaderId>::new(1, 1)));
    assert_found(&with("log", &[old], &[]).await, "is older than the last entry");
    assert_found(&with("log", &[], &[mark("vote")]).await, "no vote");
}

pub type LeaderId = <crate::support::Types as openraft::RaftTypeConfig>::LeaderId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_out_of_bounds_are_found() {
    let far = encoded(&log_id(3, 900));
    assert_found(&with("log", &[(mark("committed"), far.clone())], &[]).await, "but the log ends at");
    assert!(!with("log", &[(mark("purged"), far)], &[]).await.is_well());
    let without: Vec<_> = [mark("purged")].into_iter().chain((0..20).map(entry_key)).collect();
    let report = with("log", &[], &without).await;
    assert_eq!(report.problems, [], "the state has what is before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_contradicts_the_log_is_found() {
    let other = encoded(&log_id(2, 54));
    assert_found(&with("state/db-1", &[(b"!applied".to_vec(), other)], &[]).await, "but the log has");
    // Ahead of the log is what a power failure may leave: openraft applies what a majority has.
    let ahead = encoded(&log_id(3, ENTRIES + 5));
    let report = with("state/db-1", &[(b"!applied".to_vec(), ahead)], &[]).await;
    assert_eq!(report.problems, []);
    assert!(report.notes.iter().any(|note| note.text.contains("ahead of the log")), "{:?}", report.notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_that_the_application_does_not_know_are_found() {
    let bad = (b"akey-07".to_vec(), vec![0xff, 0xfe]);
    assert_found(&with("state/db-1", &[bad], &[]).await, "the pair with key key-07");
    // Good for the application, and not what the snapshot of the same position has.
    let other = (b"akey-07".to_vec(), b"other".to_vec());
    assert_found(&with("state/db-1", &[other], &[]).await, "their pairs differ");
    assert_found(&with("state/db-1", &[], &[b"akey-07".to_vec()]).await, "their pairs differ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_format_is_not_called_damage() {
    for (database, key) in [("log", mark("format")), ("state/db-1", b"!format".to_vec())] {
        let report = with(database, &[(key, vec![9])], &[]).await;
        assert_eq!(report.problems.len(), 1, "{report:#?}");
        assert_eq!(report.problems[0].kind, ProblemKind::OtherFormat, "{report:#?}");
    }
}

/// A storage that has never been opened to its end has no FORMAT; one that has been in use and lost it is damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_format_is_told_from_a_start_that_was_interrupted() {
    let format = Path::new(DIR).join("FORMAT");
    let fresh = SimDisk::default();
    drop(open(Path::new(DIR), on(&fresh)).await.unwrap());
    storage_leveldb::Disk::delete(&fresh, &format).unwrap();
    let report = try_check(Path::new(DIR), on(&fresh)).unwrap();
    assert_eq!(report.problems, []);
    assert!(report.notes.iter().any(|note| note.path == format), "{:?}", report.notes);

    let used = filled_disk().await;
    storage_leveldb::Disk::delete(&used, &format).unwrap();
    let report = check(&used);
    assert_eq!(report.problems[0].path, format, "{report:#?}");
}
