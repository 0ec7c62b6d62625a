//! Failing and lying disks: every fault is detected or harmless, and none changes an answer;
//! `storage_leveldb::testing::faults` says how that is tried. `FAULT_SEED=17` tries another workload.

mod opening;

use std::ops::Range;

use crate::crash::random_set;
use crate::support::{Register, Types};
use storage_leveldb::testing::FaultTest;
use storage_leveldb::testing::faults::{FaultReport, FaultTestError};

/// Workloads in CI.
const SEEDS: Range<u64> = 0..3;

type Test = FaultTest<Types, Register>;

/// Runs a test on some workloads and prints what was tried, which must have been at least this much.
fn run(test: impl Fn(&Test) -> Result<FaultReport, FaultTestError>, least: u64) -> FaultReport {
    let seeds = match std::env::var("FAULT_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => SEEDS,
    };
    let mut all = FaultReport::default();
    for seed in seeds {
        match test(&Test::new(|| Register, random_set).seed(seed)) {
            Ok(report) => all.merge(&report),
            Err(e) => panic!("{e}\nagain: FAULT_SEED={seed}"),
        }
    }
    println!("{all}");
    let total = all.total();
    assert!(total.detected + total.harmless >= least, "fewer than {least} faults");
    all
}

#[test]
fn every_operation_may_fail() {
    let report = run(Test::failed_operations, 1000);
    assert!(report.total().detected > report.total().harmless);
}

#[test]
fn every_read_may_fail_or_be_short() {
    run(Test::failed_reads, 500);
}

#[test]
fn the_disk_may_be_full_at_any_byte() {
    let report = run(Test::full_disks, 200);
    assert!(report.total().detected > report.total().harmless);
}

#[test]
fn a_flipped_bit_changes_no_answer() {
    let report = run(Test::flipped_bits, 2000);
    for part in [
        "log/*.log: flipped bit, frame payload",
        "log/*.ldb: flipped bit, data block",
        "log/*.ldb: flipped bit, filter block",
        "log/*.ldb: flipped bit, index block",
        "log/*.ldb: flipped bit, footer",
        "log/*.ldb: flipped bit, page checksum",
        "log/*.ldb: flipped bit, trailer",
        "log/MANIFEST: flipped bit, frame payload",
        "log/CURRENT: flipped bit, frame checksum",
        "log/WITNESS: flipped bit, frame synced",
        "node/FORMAT: flipped bit, file header",
        "snapshot/*.snap: flipped bit, frame payload",
        "snapshot/ACTIVE: flipped bit, frame payload",
        "state/ACTIVE: flipped bit, frame magic",
        "state db/*.ldb: flipped bit, data block",
        "state db/*.log: flipped bit, frame length",
    ] {
        assert!(report.by_kind.contains_key(part), "no {part}");
    }
}

#[test]
fn a_missing_file_changes_no_answer() {
    run(Test::missing_files, 15);
}

#[test]
fn a_file_that_is_cut_off_changes_no_answer() {
    run(Test::truncated_files, 300);
}

#[test]
fn an_older_version_of_a_file_changes_no_answer() {
    run(Test::older_files, 20);
}
