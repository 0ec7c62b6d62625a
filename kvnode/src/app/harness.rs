//! The tests that `raftnode` has for any application, over this one.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use raftnode::View;
use raftnode::testing::{ClusterReport, Random, Subject};

use super::{Command, KvApplication, Query, ScanQuery};

const CRASH_POINTS: u64 = 300;
/// So few that a seed has hardly more points.
const CRASH_STEPS: usize = 12;
/// Histories of every run of `.ci/run`; `HISTORIES` asks for another number.
const HISTORIES: u64 = 200;
/// Clusters at a time: most of what one does is waiting for an election.
const HISTORIES_AT_ONCE: u64 = 16;
/// In so many rounds of a history something goes wrong.
const HISTORY_ROUNDS: u64 = 3;

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

/// Few keys, so that a query meets what is being written.
fn query(random: &mut Random, _: &mut View<'_, '_>) -> Query {
    let key = |n: u64| Bytes::from(format!("key {n}"));
    if random.one_in(2) {
        return Query::Get { key: key(random.below(20)) };
    }
    Query::Scan(ScanQuery {
        start: key(random.below(20)),
        prefix: if random.one_in(2) { key(1) } else { Bytes::new() },
        max_pairs: 1 + random.position(20),
        max_bytes: 1 << 20,
        keys_only: random.one_in(4),
    })
}

/// One history: clients put, delete, get and scan by way of any of the nodes, while what the seed
/// says goes wrong; then all they were told is checked.
fn history(seed: u64) -> Result<ClusterReport, String> {
    let test = subject().queries(query).cluster_test();
    let nodes = if seed.is_multiple_of(4) { 5 } else { 3 };
    let report = test.nodes(nodes).rounds(HISTORY_ROUNDS).seed(seed).run();
    report.map_err(|failed| failed.to_string())
}

fn asked_for(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// `HISTORIES=10000 HISTORIES_FROM=1000` is the long mode; what fails is named with its seed, and
/// `HISTORIES=1 HISTORIES_FROM=<seed>` repeats it.
#[test]
#[ignore = "some minutes"]
fn every_history_is_linearizable() {
    let (first, count) = (asked_for("HISTORIES_FROM", 1), asked_for("HISTORIES", HISTORIES));
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        let mut requests = 0;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return (failed, requests);
            }
            match history(first + n) {
                Ok(report) => requests += report.acknowledged + report.reads,
                Err(reason) => {
                    println!("FAILED: seed {}: {reason}", first + n);
                    failed.push(first + n);
                }
            }
        }
    };
    let (failed, requests) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..HISTORIES_AT_ONCE.min(count)).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap());
        ended.fold((Vec::new(), 0), |(mut all, sum), (failed, requests)| {
            all.extend(failed);
            (all, sum + requests)
        })
    });
    println!("{count} histories from seed {first} on, {requests} answers");
    assert!(failed.is_empty(), "seeds {failed:?} failed: see above");
}

/// A few of them, in every run.
#[test]
fn some_histories_are_linearizable() {
    std::thread::scope(|scope| {
        let runs: Vec<_> = [4, 5, 6].map(|seed| scope.spawn(move || history(seed).unwrap())).into();
        runs.into_iter().for_each(|run| println!("{}", run.join().unwrap()));
    });
}
