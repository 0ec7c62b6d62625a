//! Records that every checksum covers and that are wrong all the same, written as the storage
//! writes them: only decoding shows them.

use std::path::Path;

use crate::check::{DIR, ENTRIES, check, entry, filled_disk, filled_disk_of_one_segment, on, try_check};
use crate::support::state_files::{
    StoredManifest, change_manifest, change_manifest_content, change_table, manifest,
};
use crate::support::{Types, log_id, open};
use openraft::Vote;
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::StoredMembershipOf;
use storage_leveldb::check::{ProblemKind, Report};
use storage_leveldb::testing::engine::{Batch, Durability, EngineFactory};
use storage_leveldb::testing::{SimDisk, leveldb_on};

fn entry_key(index: u64) -> Vec<u8> {
    [&[1][..], &index.to_be_bytes()].concat()
}

/// An entry block of one entry.
fn block<T: serde::Serialize>(entry: &T) -> Vec<u8> {
    let record = encoded(entry);
    [&(record.len() as u32).to_le_bytes()[..], &record].concat()
}

fn meta_key(name: &str) -> Vec<u8> {
    [&[0xff], name.as_bytes()].concat()
}

/// A filled disk with these changes of the log, made behind the storage's back, checked.
async fn with_log(put: &[(Vec<u8>, Vec<u8>)], delete: &[Vec<u8>]) -> Report {
    let disk = filled_disk_of_one_segment().await;
    let segment = Path::new(DIR).join("log/segment-1");
    let mut engine = leveldb_on(&disk, crate::check::small_leveldb()).open(&segment).unwrap();
    let mut batch = Batch::default();
    delete.iter().for_each(|key| batch.delete(key.clone()));
    put.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone().into()));
    engine.write(batch, Durability::Synced).unwrap();
    drop(engine);
    check(&disk)
}

/// The same with a change of MANIFEST.
async fn with_manifest(change: impl FnOnce(&mut StoredManifest)) -> Report {
    let disk = filled_disk().await;
    change_manifest(&disk, Path::new(DIR), change);
    check(&disk)
}

/// The same with a record put into the newest table.
async fn with_record(key: &str, record: &[u8]) -> Report {
    let (disk, dir) = (filled_disk().await, Path::new(DIR));
    let newest = manifest(&disk, dir).tables[0].number;
    change_table(&disk, dir, newest, |records| {
        records.insert(key.into(), record.to_vec());
    });
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
    let report = with_log(&[(entry_key(40), block(&entry(2, 40)))], &[]).await;
    assert_eq!(report.problems, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_in_the_log_is_found() {
    assert_found(&with_log(&[], &[entry_key(40), entry_key(41)]).await, "log entries 40 to 41 are missing");
    assert_found(&with_log(&[], &[entry_key(17)]).await, "log entries 17 to 17 are missing");
    // Far behind the end: where halving steps do not look.
    let far = (entry_key(ENTRIES + 2000), block(&entry(3, ENTRIES + 2000)));
    assert_found(&with_log(&[far], &[]).await, "log entries 61 to 2059 are missing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_in_the_wrong_place_is_found() {
    let other = (entry_key(40), block(&entry(2, 41)));
    assert_found(&with_log(&[other], &[]).await, "log entry 40 says it is entry 41");
    let old = (entry_key(58), block(&entry(1, 58)));
    assert_found(&with_log(&[old], &[]).await, "its term is older");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_does_not_decode_is_found() {
    for index in [17, 40, ENTRIES] {
        let report = with_log(&[(entry_key(index), vec![0xee; 9])], &[]).await;
        assert_found(&report, &format!("the block of log entry {index} ends within an entry"));
        let report = with_log(&[(entry_key(index), [&[5, 0, 0, 0][..], &[0xee; 5]].concat())], &[]).await;
        assert_found(&report, &format!("log entry {index}: "));
    }
    for name in ["vote", "purged", "committed"] {
        assert!(!with_log(&[(meta_key(name), vec![0xee; 9])], &[]).await.is_well(), "{name}");
    }
    assert_found(&with_log(&[(vec![7, 7], vec![])], &[]).await, "unknown key");
    for (key, record, reason) in [
        ("zebra", &[1][..], "unknown key zebra"),
        ("akey-07", &[], "the record of key akey-07 is no change"),
        ("akey-07", &[7, 1], "the record of key akey-07 is no change"),
        ("akey-07", &[0, 1], "the record of key akey-07 is no change"),
    ] {
        assert_found(&with_record(key, record).await, reason);
    }
}

/// MANIFEST is read before anything is looked for that it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_does_not_decode_is_found() {
    let disk = filled_disk().await;
    for change in [
        |content: &mut Vec<u8>| content.truncate(content.len() - 1),
        |content: &mut Vec<u8>| content.push(0),
        |content: &mut Vec<u8>| content[1..].fill(0xee),
    ] {
        let damaged = disk.copy();
        change_manifest_content(&damaged, Path::new(DIR), change);
        let report = check(&damaged);
        assert_eq!(report.problems[0].path, Path::new(DIR).join("state/MANIFEST"), "{report:#?}");
        assert_eq!(report.problems[0].kind, ProblemKind::Damaged, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_older_than_the_log_is_found() {
    let old = (meta_key("vote"), encoded(&Vote::<crate::check_contents::LeaderId>::new(1, 1)));
    assert_found(&with_log(&[old], &[]).await, "is older than the last entry");
    assert_found(&with_log(&[], &[meta_key("vote")]).await, "no vote");
}

pub type LeaderId = <crate::support::Types as openraft::RaftTypeConfig>::LeaderId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hard_state_out_of_bounds_is_found() {
    let far = encoded(&log_id(3, 900));
    assert_found(&with_log(&[(meta_key("committed"), far.clone())], &[]).await, "but the log ends at");
    let purged = |end: u64| vec![(meta_key("purged"), encoded(&(end, &far)))];
    assert_found(&with_log(&purged(901), &[]).await, "but the state holds up to entry");
    assert_found(&with_log(&purged(900), &[]).await, "entries before 900 are purged, but the last is");
    let without: Vec<_> = [meta_key("purged")].into_iter().chain((0..20).map(entry_key)).collect();
    let report = with_log(&[], &without).await;
    assert_eq!(report.problems, [], "the state has what is before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_contradicts_the_log_is_found() {
    assert_found(&with_manifest(|manifest| manifest.applied = Some(log_id(2, 54))).await, "but the log has");
    // Ahead of the log is what a power failure may leave: openraft applies what a majority has.
    let report = with_manifest(|manifest| manifest.applied = Some(log_id(3, ENTRIES + 5))).await;
    assert_eq!(report.problems, []);
    assert!(report.notes.iter().any(|note| note.text.contains("ahead of the log")), "{:?}", report.notes);
}

/// What the log has lost is nowhere, if the state has not got it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_lacks_what_is_purged_is_found() {
    assert_found(
        &with_manifest(|manifest| manifest.applied = Some(log_id(1, 15))).await,
        "up to entry 15 only",
    );
    assert_found(&with_manifest(|manifest| manifest.applied = None).await, "the state holds nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_contradicts_itself_is_found() {
    let newer = with_manifest(|manifest| {
        let membership = manifest.membership.membership().clone();
        manifest.membership = StoredMembershipOf::<Types>::new(Some(log_id(3, 55)), membership);
    });
    assert_found(&newer.await, "its membership is newer than the last applied entry");
    let lost = with_manifest(|manifest| manifest.tables[0].number = 99).await;
    assert_found(&lost, "missing, although MANIFEST names it");
    // Nothing was applied and purged, and still there are pairs.
    let (disk, dir) = (SimDisk::default(), Path::new(DIR));
    let mut store = open(dir, on(&disk)).await.unwrap();
    store.state.apply(futures_util::stream::iter([Ok((entry(1, 1), None))])).await.unwrap();
    drop(store);
    change_manifest(&disk, dir, |manifest| manifest.applied = None);
    assert_found(&check(&disk), "1 pairs, but no entry was applied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_that_the_application_does_not_know_are_found() {
    assert_found(&with_record("akey-07", &[1, 0xff, 0xfe]).await, "the pair with key key-07");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_format_is_not_called_damage() {
    let state = filled_disk().await;
    change_manifest_content(&state, Path::new(DIR), |content| content[0] = 9);
    for report in [with_log(&[(meta_key("format"), vec![9])], &[]).await, check(&state)] {
        assert_eq!(report.problems.len(), 1, "{report:#?}");
        assert_eq!(report.problems[0].kind, ProblemKind::OtherFormat, "{report:#?}");
    }
}

/// A storage that has never been opened to its end has no FORMAT; one that has been in use and lost
/// it is damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_format_is_told_from_a_start_that_was_interrupted() {
    let format = Path::new(DIR).join("FORMAT");
    let fresh = SimDisk::default();
    drop(open(Path::new(DIR), on(&fresh)).await.unwrap());
    storage_leveldb::testing::disk::Disk::delete(&fresh, &format).unwrap();
    let report = try_check(Path::new(DIR), on(&fresh)).unwrap();
    assert_eq!(report.problems, []);
    assert!(report.notes.iter().any(|note| note.path == format), "{:?}", report.notes);

    let used = filled_disk().await;
    storage_leveldb::testing::disk::Disk::delete(&used, &format).unwrap();
    let report = check(&used);
    assert_eq!(report.problems[0].path, format, "{report:#?}");
}
