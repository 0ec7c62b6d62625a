//! The tests that `raftnode` has for any application, over this one.

use bytes::Bytes;
use raftnode::View;
use raftnode::testing::{Random, Subject};

use super::{Command, KvApplication};

const CRASH_POINTS: u64 = 300;
/// So few that a seed has hardly more points.
const CRASH_STEPS: usize = 12;

fn subject() -> Subject<KvApplication> {
    Subject::new(|| KvApplication, command)
}

/// Few keys, so that pairs are replaced.
fn command(random: &mut Random, _: &mut View<'_, '_>) -> Command {
    let key = Bytes::from(format!("key {}", random.below(20)));
    let value = Bytes::from(random.number().to_string().repeat(random.position(20)));
    let return_previous = random.one_in(2);
    match random.one_in(5) {
        true => Command::Delete { key, return_previous },
        false => Command::Put { key, value, return_previous },
    }
}

#[test]
fn a_log_means_the_same_on_every_node() {
    subject().determinism_test().run().unwrap();
}

#[test]
fn every_promise_holds_after_a_power_failure() {
    let report = subject().crash_test().points(CRASH_POINTS).steps(CRASH_STEPS).run().unwrap();
    assert!(report.found.points >= CRASH_POINTS, "{report}");
}

#[test]
fn no_missing_or_shortened_file_changes_an_answer() {
    let test = subject().fault_test();
    for report in [test.missing_files().unwrap(), test.truncated_files().unwrap()] {
        let ends = report.found.total();
        assert!(ends.detected > ends.harmless, "{report}");
    }
}
