//! Power loss at every operation of a workload; `storage_leveldb::testing::crash` says how, and
//! what it must catch.
//!
//! What it found: in a fresh directory the database for the first installed snapshot got the name
//! of the active one, which had been named but not created when the names in use were counted.
//! Installing wrote into the live database and then deleted it.
//!
//! The long mode, with a progress line every minute: `CRASH_POINTS=1000000 cargo test --release -p
//! storage-leveldb --test storage crash -- --ignored --nocapture`. `CRASH_FIRST_SEED=500
//! …` goes on where another run has ended; `CRASH_SEED=17
//! …` runs one seed again, and with `CRASH_POINT=231.2` one point of it.

use std::path::Path;
use std::sync::Arc;

use crate::support::{APPEND, Register, Set, Types, open};
use openraft::storage::RaftLogStorage;
use openraft::{RaftLogReader, Vote};
use storage_leveldb::Options;
use storage_leveldb::testing::crash::{CrashReport, StepKind};
use storage_leveldb::testing::{CrashTest, Random, SimDisk, Survival};

/// Distinct crash points of every run of the tests, at least: a workload is explored to its end,
const FEW_POINTS: u64 = 500;
/// and has so many steps then.
const FEW_STEPS: usize = 20;
/// Distinct crash points in CI: twice as many as every mutant of what the disk must be told in time
/// is found with.
const POINTS: u64 = 10_000;
/// Of these at least so many after another crash: of 24,800 points there were 12,900, of 11,200
/// there were 6,400, and how many storages go on after a crash is left to chance.
const POINTS_AFTER_A_CRASH: u64 = 2000;

/// Few keys, so that values are overwritten, or appended to, and now and then a value larger than a
/// write buffer.
pub fn random_set(random: &mut Random) -> Set {
    let len = if random.one_in(20) { 5000 } else { random.position(200) };
    let value = random.number().to_string().repeat(len / 20 + 1);
    let is_appended = random.one_in(3);
    let value = if is_appended { format!("{APPEND}{value}") } else { value };
    Set { key: format!("k{}", random.below(30)), value }
}

fn test(points: u64) -> CrashTest<Types, Register> {
    CrashTest::new(|| Register, random_set).points(points)
}

fn passed(test: CrashTest<Types, Register>) -> CrashReport {
    let report = test.run().unwrap_or_else(|e| panic!("{e}"));
    println!("{report}");
    report
}

#[test]
fn whatever_the_power_interrupts_every_promise_holds() {
    passed(test(FEW_POINTS).steps(FEW_STEPS));
}

/// Of workloads of the usual length, and so many points that every kind of step is among them, also
/// after another crash. The mutants are judged by it, and it has the long mode.
#[test]
#[ignore = "takes minutes: .ci/run"]
fn whatever_the_power_interrupts_every_promise_holds_in_long_workloads() {
    let report = passed(test(POINTS).from_env().unwrap());
    if std::env::vars().any(|(name, _)| name.starts_with("CRASH_")) {
        // Another part of it, or less.
        return;
    }
    assert!(report.points >= POINTS, "only {} crash points", report.points);
    let after = report.points_after_a_crash;
    assert!(after >= POINTS_AFTER_A_CRASH, "only {after} crash points after a crash");
    assert!(report.tables_deleted > 0, "no compaction");
    for kind in StepKind::ALL {
        assert!(report.steps.contains_key(&kind), "{kind} was never done");
    }
}

/// Of several directories that were missing only the last had its name synced, and with the others
/// everything was lost.
#[tokio::test]
async fn a_storage_below_directories_that_were_missing_survives() {
    let (disk, dir) = (SimDisk::default(), Path::new("mount/a/b/node"));
    let options = |disk: &SimDisk| Options::default().with_disk(Arc::new(disk.clone()));
    let mut store = open(dir, options(&disk)).await.unwrap();
    store.log.save_vote(&Vote::new(7, 1)).await.unwrap();
    drop(store);
    let left = disk.reboot(Survival::Nothing);
    let mut store = open(dir, options(&left)).await.unwrap();
    let vote = store.log.get_log_reader().await.read_vote().await.unwrap();
    assert_eq!(vote, Some(Vote::new(7, 1)));
}
