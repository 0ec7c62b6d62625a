//! Damage of every kind to every file: the check finds it and names the file, or it is harmless:
//! then a storage opened on the same disk answers exactly as before. Attacked is the promise of the
//! exit code: a directory that is called well must never answer wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::check::{DIR, check, filled_disk, on};
use crate::support::{Store, changed, open};
use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use storage_leveldb::check::{Problem, ProblemKind, Report};
use storage_leveldb::testing::SimDisk;
use storage_leveldb::testing::disk::Disk;

/// Everything a storage can be asked that a restart must not change.
async fn answers(store: &mut Store) -> Result<String, std::io::Error> {
    let log = store.log.get_log_state().await?;
    let mut reader = store.log.get_log_reader().await;
    let entries = reader.try_get_log_entries(..).await?;
    let (vote, committed) = (reader.read_vote().await?, store.log.read_committed().await?);
    let (applied, pairs) = (store.state.applied_state().await?, store.reader.query(()).await?);
    let mut snapshot = Vec::new();
    if let Some(mut current) = store.state.get_current_snapshot().await? {
        tokio::io::AsyncReadExt::read_to_end(&mut current.snapshot, &mut snapshot).await?;
        // Its frames have a salt of their own each time they are made.
        snapshot = storage_leveldb::testing::formats::stream_framed(&snapshot)?;
    }
    Ok(format!("{log:?} {entries:?} {vote:?} {committed:?} {applied:?} {pairs:?} {snapshot:?}"))
}

async fn opened_answers(disk: &SimDisk) -> Result<String, String> {
    let mut store = open(Path::new(DIR), on(disk)).await.map_err(|e| e.to_string())?;
    answers(&mut store).await.map_err(|e| e.to_string())
}

/// A copy of a disk that was closed cleanly.
fn copy_of(disk: &SimDisk) -> SimDisk {
    disk.copy()
}

fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy();
    let extension = path.extension().map(|end| end.to_string_lossy().into_owned());
    extension.unwrap_or_else(|| name.split('-').next().unwrap().to_owned())
}

fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn replace(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let mut file = disk.create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

fn names(report: &Report, path: &Path) -> bool {
    report.problems.iter().any(|problem| problem.path == path)
}

/// A WITNESS that has lost its end is an older one: it speaks of logs that have gone since, and
/// which of the two is wrong cannot be told. Then the log is named, and the WITNESS with it.
fn tells_of(report: &Report, path: &Path) -> bool {
    let witness = path.ends_with("WITNESS").then(|| path.parent());
    let by_witness =
        |problem: &Problem| Some(problem.path.parent()) == witness && problem.reason.contains("WITNESS");
    names(report, path) || report.problems.iter().any(by_witness)
}

/// Found by the check and harmless, by file kind.
#[derive(Default)]
struct Tally(BTreeMap<String, (u32, u32)>);

impl Tally {
    /// Compares what the check says of a disk on which `path` was damaged with what a start makes
    /// of it.
    async fn judge(&mut self, disk: &SimDisk, expected: &str, path: &Path, what: &str) {
        let report = check(disk);
        let (found, harmless) = self.0.entry(kind(path)).or_default();
        if report.is_well() {
            let answers = opened_answers(disk).await;
            assert_eq!(answers.as_deref(), Ok(expected), "{} {what}: called well", path.display());
            *harmless += 1;
        } else {
            assert!(
                tells_of(&report, path),
                "{} {what}: not named in {:#?}",
                path.display(),
                report.problems
            );
            assert!(
                report.problems.iter().all(|problem| problem.kind == ProblemKind::Damaged),
                "{report:#?}"
            );
            *found += 1;
        }
    }

    fn print(&self, damage: &str) {
        for (kind, (found, harmless)) in &self.0 {
            println!("{damage} {kind}: {found} found, {harmless} harmless");
        }
    }

    fn found(&self, kind: &str) -> u32 {
        self.0.get(kind).map_or(0, |(found, _)| *found)
    }
}

const KINDS: [&str; 6] = ["log", "ldb", "MANIFEST", "CURRENT", "WITNESS", "FORMAT"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found_or_harmless() {
    flipped_bits(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "sixty bits of every file: .ci/run"]
async fn every_flipped_bit_is_found_or_harmless() {
    flipped_bits(24).await;
}

/// So many bytes at either end of each file, and half as many between them.
async fn flipped_bits(bytes: usize) {
    let disk = filled_disk().await;
    let expected = opened_answers(&copy_of(&disk)).await.unwrap();
    let mut tally = Tally::default();
    for (number, (path, len)) in disk.files().into_iter().enumerate() {
        let between = (0..len).step_by(len / (bytes / 2) + 1);
        // Where not every byte is tried, others are in the next file.
        let (every, ends) = (24 / bytes, (0..len.min(24)).chain(len.saturating_sub(24)..len));
        let ends = ends.skip(number % every).step_by(every);
        let offsets: BTreeSet<usize> = ends.chain(between).collect();
        for offset in offsets {
            let damaged = copy_of(&disk);
            assert!(damaged.flip_bit(&path, offset, (offset % 8) as u8));
            tally.judge(&damaged, &expected, &path, &format!("with a flipped bit at {offset}")).await;
        }
    }
    tally.print("flipped bit in");
    for kind in KINDS {
        assert!(tally.found(kind) > 0, "no damage found in any {kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_cut_off_is_found_or_harmless() {
    let disk = filled_disk().await;
    let expected = opened_answers(&copy_of(&disk)).await.unwrap();
    let mut tally = Tally::default();
    for (path, len) in disk.files() {
        let bytes = content(&disk, &path);
        for left in BTreeSet::from([0, 1, 19, 20, 21, len / 3, len / 2, len.saturating_sub(21), len - 1]) {
            if left < len {
                let damaged = copy_of(&disk);
                replace(&damaged, &path, &bytes[..left]);
                tally.judge(&damaged, &expected, &path, &format!("cut off at {left}")).await;
            }
        }
    }
    tally.print("cut off");
    for kind in KINDS {
        assert!(tally.found(kind) > 0, "no {kind} found cut off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_found_or_harmless() {
    let disk = filled_disk().await;
    let expected = opened_answers(&copy_of(&disk)).await.unwrap();
    let mut tally = Tally::default();
    for (path, _) in disk.files() {
        let damaged = copy_of(&disk);
        Disk::delete(&damaged, &path).unwrap();
        tally.judge(&damaged, &expected, &path, "missing").await;
    }
    tally.print("missing");
    for kind in KINDS {
        assert!(tally.found(kind) > 0, "no missing {kind} found");
    }
}

/// A whole database that is gone, or a table of the state, or all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_is_found() {
    for gone in ["node/log", "node/state/table-1", "node/state/table-2", "node/state"] {
        let disk = filled_disk().await;
        disk.delete_dir(Path::new(gone)).unwrap();
        let report = check(&disk);
        assert!(report.problems.iter().any(|problem| problem.path.starts_with(gone)), "{gone}: {report:#?}");
    }
}

/// One file of each kind is damaged at once: all are named, whichever is looked at first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damaged_file_is_named_not_only_the_first() {
    let disk = filled_disk().await;
    let mut damaged = BTreeMap::new();
    for (path, len) in disk.files() {
        // Behind a damaged MANIFEST or CURRENT everything counts; these two have their own tests.
        let is_ours = path.ends_with("log/MANIFEST") || path.ends_with("state/MANIFEST");
        if (is_ours || !["MANIFEST", "CURRENT", "FORMAT"].contains(&kind(&path).as_str())) && len > 25 {
            damaged.entry((path.parent().unwrap().to_owned(), kind(&path))).or_insert((path, len));
        }
    }
    for (path, len) in damaged.values() {
        // Every frame and page of it: the one that counts is among them.
        (0..*len).step_by(7).for_each(|offset| assert!(disk.flip_bit(path, offset, 3)));
    }
    let report = check(&disk);
    let reported: Vec<_> = damaged.values().filter(|(path, _)| names(&report, path)).collect();
    let count =
        |kind: &str| reported.iter().filter(|(path, _)| crate::check_damage::kind(path) == kind).count();
    let all = |kind: &str| damaged.keys().filter(|(_, its)| its == kind).count();
    // Of log and state, and of the segments and tables that the two, unread, name.
    for ours in ["log/MANIFEST", "state/MANIFEST"] {
        assert!(names(&report, &Path::new(DIR).join(ours)), "{ours}: {report:#?}");
    }
    for kind in ["log", "ldb", "WITNESS"] {
        assert!(count(kind) >= 2 && count(kind) == all(kind), "{kind}: {reported:?} of {damaged:#?}");
    }
    assert_eq!(report.log, None, "contents of damaged files are not looked at");
}

/// A table with several bad pages is one problem, which says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bad_pages_of_a_table_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = crate::check::small(std::sync::Arc::new(storage_leveldb::testing::disk::RealDisk));
    let options =
        changed(options.with_log_leveldb(Default::default()), |options| options.log_segment_bytes = u64::MAX);
    let mut store = open(dir.path(), options.clone()).await.unwrap();
    crate::check::work(&mut store).await.unwrap();
    drop(store);
    // The next start puts the log's entries into one table.
    drop(open(dir.path(), options.clone()).await.unwrap());
    let tables =
        std::fs::read_dir(dir.path().join("log/segment-1")).unwrap().map(|entry| entry.unwrap().path());
    let table =
        tables.filter(|path| kind(path) == "ldb").max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&table).unwrap();
    assert!(bytes.len() > 2 * 4096, "{} bytes", bytes.len());
    bytes[100] ^= 1;
    bytes[4096 + 100] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let report = crate::check::try_check(dir.path(), options).unwrap();
    let reason = &report.problems.iter().find(|problem| problem.path == table).unwrap().reason;
    assert!(reason.contains("page 0 at offset 0") && reason.contains("1 more"), "{reason}");
}

/// What the operating system refuses to read is told from damage: another answer is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_not_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let options = crate::check::small(std::sync::Arc::new(storage_leveldb::testing::disk::RealDisk));
    drop(open(dir.path(), options.clone()).await.unwrap());
    let path = dir.path().join("log/segment-1/CURRENT");
    std::fs::remove_file(&path).unwrap();
    // A directory in its place: no user may read it as a file, not even root.
    std::fs::create_dir(&path).unwrap();
    let report = crate::check::try_check(dir.path(), options).unwrap();
    assert_eq!(report.problems[0].kind, ProblemKind::Unreadable, "{report:#?}");
    assert_eq!(report.problems[0].path, path);
}
