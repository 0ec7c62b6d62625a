//! What a cluster under trouble finds, and that it finds nothing in the application without a
//! mistake.

use std::collections::BTreeMap;
use std::sync::Mutex;

use raftnode::testing::{Cluster, ClusterError, Failed, Survival};

use super::support::{Command, Counters, Response, apply, query, subject};

fn add(count: u64) -> Command {
    Command::Add { name: "a".to_owned(), count }
}

fn sound() -> Counters<()> {
    Counters {
        state: (),
        apply: |(), txn, _, command| apply(txn, command),
        query: |(), view, name| query(view, &name),
    }
}

#[test]
fn the_one_without_a_mistake_keeps_every_promise_in_a_cluster() {
    let test = subject::<()>(|(), txn, _, command| apply(txn, command)).cluster_test();
    let report = test.seed(3).rounds(4).run().unwrap();
    assert!(report.acknowledged > 50 && report.reads > 10, "{report}");
    assert!(report.exercised.responses.missing().is_empty(), "{report}");
    println!("{report}");
}

/// Written out: a majority goes on without a leader that is cut off, and that one answers nothing
/// it should not; then all lose their power.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_answers_nothing_stale() {
    let cluster = Cluster::start(3, 7, sound).await.unwrap();
    let old = cluster.leader().await.unwrap();
    cluster.write(old, add(1)).await.unwrap();
    cluster.network().isolate(old, cluster.nodes());
    let other = cluster.nodes().into_iter().find(|node| *node != old).unwrap();
    assert_eq!(cluster.write(other, add(2)).await.unwrap(), Response::Now(3));
    assert_eq!(cluster.read_stale(old, "a".to_owned()).await.unwrap(), 1);
    cluster.read(old, "a".to_owned()).await.unwrap_err();
    cluster.network().heal();
    assert_eq!(cluster.read(old, "a".to_owned()).await.unwrap(), 3);
    for node in cluster.nodes() {
        cluster.crash(node, Survival::Nothing).await;
    }
    let report = cluster.check().await.unwrap();
    assert_eq!((report.acknowledged, report.reads, report.restarts), (2, 1, 3), "{report}");
    assert!(report.messages.lost > 0, "{report}");
}

/// A node that was started again answers from what it has in memory, which is not what it has
/// stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_a_cache_are_caught_after_a_restart() {
    type Cache = Mutex<BTreeMap<String, u64>>;
    let cached = || Counters::<Cache> {
        state: Cache::default(),
        apply: |cache, txn, _, command| {
            let (Command::Add { name, .. } | Command::Take { name, .. }) = &command;
            let name = name.clone();
            let response = apply(txn, command)?;
            let (Response::Now(now) | Response::TooFew(now)) = response;
            cache.lock().unwrap().insert(name, now);
            Ok(response)
        },
        query: |cache, _, name| Ok(cache.lock().unwrap().get(&name).copied().unwrap_or_default()),
    };
    let cluster = Cluster::start(3, 7, cached).await.unwrap();
    cluster.write(1, add(1)).await.unwrap();
    // Enough for a snapshot: what is behind it is not applied again at a start.
    for _ in 0..200 {
        cluster.write(1, Command::Add { name: "b".to_owned(), count: 1 }).await.unwrap();
    }
    for node in cluster.nodes() {
        cluster.crash(node, Survival::Everything).await;
    }
    for node in cluster.nodes() {
        cluster.restart(node).await.unwrap();
    }
    cluster.read(1, "a".to_owned()).await.unwrap();
    let error = cluster.check().await.unwrap_err();
    assert!(matches!(error, ClusterError::Answer { .. }), "{error}");
}

/// The one run of it that differs is the other node's.
#[test]
fn the_number_of_an_instance_is_caught_by_its_cluster() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static INSTANCES: AtomicU64 = AtomicU64::new(0);
    struct Instance(u64);
    impl Default for Instance {
        fn default() -> Self {
            Self(INSTANCES.fetch_add(1, Ordering::Relaxed))
        }
    }
    let test = subject::<Instance>(|instance, txn, _, command| {
        txn.store(b"applied by", &instance.0)?;
        apply(txn, command)
    });
    let failed = test.cluster_test().rounds(1).run().unwrap_err();
    let Failed::Test(failure) = &failed else { panic!("{failed}") };
    let found = matches!(*failure.reason, ClusterError::State { .. });
    assert!(found && failed.to_string().contains("seed 0"), "{failed}");
}
