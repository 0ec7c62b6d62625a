//! The tests that `storage-leveldb` has for any application, over this one.

use bytes::Bytes;
use storage_leveldb::testing::{CrashTest, DeterminismTest, FaultTest, Random};

use super::{Command, KvApplication, RequestId};
use crate::raft::TypeConfig;

const CRASH_POINTS: u64 = 300;
/// So few that a seed has hardly more points.
const CRASH_STEPS: usize = 12;

/// Few keys and clients, so that pairs are replaced, and writes repeated or too late.
fn command(random: &mut Random) -> Command {
    let key = Bytes::from(format!("key {}", random.below(20)));
    let value = Bytes::from(random.number().to_string().repeat(random.position(20)));
    let client_id = [u8::from(random.one_in(2)); 16];
    let request_id =
        random.one_in(2).then(|| RequestId { client_id, sequence: random.below(1000).saturating_add(1) });
    let return_previous = random.one_in(2);
    match random.one_in(5) {
        true => Command::Delete { key, request_id, return_previous },
        false => Command::Put { key, value, request_id, return_previous },
    }
}

#[test]
fn a_log_means_the_same_on_every_node() {
    DeterminismTest::<TypeConfig, KvApplication>::new(|| KvApplication, command).run().unwrap();
}

#[test]
fn every_promise_holds_after_a_power_failure() {
    let test = CrashTest::<TypeConfig, KvApplication>::new(|| KvApplication, command);
    let report = test.points(CRASH_POINTS).steps(CRASH_STEPS).run().unwrap();
    assert!(report.points >= CRASH_POINTS, "{report}");
}

#[test]
fn no_missing_or_shortened_file_changes_an_answer() {
    let test = FaultTest::<TypeConfig, KvApplication>::new(|| KvApplication, command);
    for report in [test.missing_files().unwrap(), test.truncated_files().unwrap()] {
        assert!(report.total().detected > report.total().harmless, "{report}");
    }
}
