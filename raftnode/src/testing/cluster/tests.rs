//! The cluster keeps its promises, and notices when it does not.

use std::sync::atomic::Ordering;

use storage_leveldb::StorageError;

use super::*;
use crate::application::{At, MergeOperator, Transaction, View};
use crate::testing::subject::encoded;

/// A sum.
struct Sum;

impl Application for Sum {
    const SCHEMA: u32 = 1;
    type Command = u64;
    type Response = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, add: u64) -> Result<u64, StorageError> {
        let before: u64 = txn.load(b"sum")?.unwrap_or_default();
        let sum = before + add;
        txn.store(b"sum", &sum)?;
        Ok(sum)
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.load(b"sum")?.unwrap_or_default())
    }
}

const WRITES: u64 = 20;

/// What the first linearizable read answers after the leader's power failed and came back at once,
/// and what the check says. Its heartbeats arrive then, and its entries do not: that makes the
/// moment as long as the test needs.
async fn read_after_power_loss(flaw: Option<Flaw>) -> (u64, Result<ClusterReport, ClusterError>) {
    let cluster = Cluster::start_as(3, 1, Arc::new(|| Sum), flaw).await.unwrap();
    let leader = cluster.leader().await.unwrap();
    for _ in 0..WRITES {
        cluster.write(leader, 1).await.unwrap();
    }
    cluster.network().mute(leader);
    cluster.crash(leader, Survival::Nothing).await;
    cluster.restart(leader).await.unwrap();
    // The one that is back is asked first: if it leads on, it is before the others have noticed
    // anything.
    let first = tokio::time::timeout(Duration::from_millis(500), cluster.read(leader, ())).await;
    let sum = match first {
        Ok(Ok(sum)) => sum,
        _ => {
            cluster.network().heal();
            cluster.read(leader, ()).await.unwrap()
        }
    };
    (sum, cluster.check().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_a_power_loss_sees_every_acknowledged_write() {
    let (sum, checked) = read_after_power_loss(None).await;
    assert_eq!(sum, WRITES);
    let report = checked.unwrap();
    assert_eq!((report.acknowledged, report.reads, report.restarts), (WRITES, 1, 1), "{report}");
}

/// What the checked configuration is for, and that the check would tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_restored_answers_stale_reads_and_is_caught() {
    let (sum, checked) = read_after_power_loss(Some(Flaw::RestoresLeaders)).await;
    assert!(sum < WRITES);
    let error = checked.unwrap_err();
    assert!(matches!(error, ClusterError::StaleRead { acknowledged: WRITES, .. }), "{error}");
}

async fn sums() -> Cluster<Sum> {
    Cluster::start(3, 1, || Sum).await.unwrap()
}

/// The node that leads, and the others.
async fn roles<A: Application>(cluster: &Cluster<A>) -> (NodeId, Vec<NodeId>) {
    let leader = cluster.leader().await.unwrap();
    (leader, cluster.nodes().into_iter().filter(|node| *node != leader).collect())
}

/// What the leader sends arrives, and what comes back does not: the node has the entries, and its
/// own requests get no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_direction_can_be_cut_alone() {
    let cluster = sums().await;
    let (leader, others) = roles(&cluster).await;
    cluster.network().cut(others[0], leader);
    cluster.write(leader, 1).await.unwrap();
    let begun = Instant::now();
    while cluster.read_stale(others[0], ()).await.unwrap() != 1 {
        assert!(begun.elapsed() < Duration::from_secs(RECOVERY_SECONDS), "it does not get the entry");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    cluster.read_encoded(others[0], encoded("a query", &()), Duration::from_secs(1)).await.unwrap_err();
    cluster.read(others[1], ()).await.unwrap();
    assert!(cluster.check().await.unwrap().messages.lost > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_lost_late_and_overtaken_and_every_promise_holds() {
    let cluster = sums().await;
    let directions = || (1..=3).flat_map(|from| (1..=3).map(move |to| (from, to)));
    let (_, others) = roles(&cluster).await;
    for trouble in 0..3 {
        let before = cluster.network().messages();
        let begun = Instant::now();
        for (from, to) in directions() {
            match trouble {
                0 => cluster.network().drop_one_in(8, from, to),
                1 => cluster.network().reorder_one_in(8, from, to),
                _ => cluster.network().delay(from, to, Duration::from_millis(20)),
            }
        }
        for _ in 0..WRITES {
            cluster.write(others[0], 1).await.unwrap();
        }
        let after = cluster.network().messages();
        match trouble {
            0 => assert!(after.lost > before.lost && after.reordered == before.reordered),
            1 => assert!(after.lost == before.lost && after.reordered > before.reordered),
            // On its way to the leader and to another node a write waits four times for 10 ms in
            // the mean.
            _ => assert!(begun.elapsed() > Duration::from_millis(5 * WRITES)),
        }
        cluster.network().heal();
    }
    assert_eq!(cluster.read(others[1], ()).await.unwrap(), 3 * WRITES);
    cluster.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_can_be_replaced_and_nothing_is_lost() {
    let cluster = sums().await;
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        cluster.write(old, 1).await.unwrap();
        assert_eq!(cluster.add_node().await.unwrap(), new);
        cluster.remove_node(old).await.unwrap();
        cluster.write(old, 1).await.unwrap_err();
        assert_eq!(cluster.read(new, ()).await.unwrap(), new - 3);
    }
    assert_eq!(cluster.nodes(), [4, 5, 6]);
    for node in cluster.nodes() {
        cluster.crash(node, Survival::Nothing).await;
    }
    let report = cluster.check().await.unwrap();
    assert_eq!((report.acknowledged, report.not_applied), (3, 3), "{report}");
}

/// Answers with the time of the state, in milliseconds.
struct Timed;

impl Application for Timed {
    const SCHEMA: u32 = 1;
    type Command = u64;
    type Response = ();
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, command: u64) -> Result<(), StorageError> {
        txn.store(b"last", &command)
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.time()?.as_millis())
    }
}

/// Found by an author whose queries say how long a lease still lasts: a write that comes again is
/// not applied, but moves the state's time, and the model's time stood still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_comes_again_moves_the_time_that_queries_see() {
    let cluster = Cluster::start(3, 5, || Timed).await.unwrap();
    let (leader, others) = roles(&cluster).await;
    cluster.network().cut(leader, others[0]);
    let write = cluster.write(others[0], 7);
    let heal = async {
        // The answer is lost, and the node asks again: the repetition takes a second position.
        let leads = cluster.member(leader).unwrap();
        let position = async || {
            let found = leads.requests.clone().read_stale(encoded("a query", &())).await;
            found.ok().filter(|found| found.position >= 2).map(drop)
        };
        cluster.within("the write does not come again", position).await.unwrap();
        cluster.network().heal();
    };
    let (written, ()) = tokio::join!(write, heal);
    written.unwrap();
    let seen = cluster.read(leader, ()).await.unwrap();
    cluster.write(leader, 8).await.unwrap();
    assert!(cluster.read(leader, ()).await.unwrap() >= seen);
    cluster.check().await.unwrap();
}

/// Its `apply` fails.
struct Failing;

impl Application for Failing {
    const SCHEMA: u32 = 1;
    type Command = ();
    type Response = ();
    type Query = ();
    type Answer = ();

    fn apply(&self, _: &mut Transaction<'_, '_>, _: At, (): ()) -> Result<(), StorageError> {
        Err(StorageError::corrupt("no such shelf"))
    }

    fn query(&self, _: &mut View<'_, '_>, (): ()) -> Result<(), StorageError> {
        Ok(())
    }
}

/// An author waited a minute, and was told that a new node does not become a voter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_apply_fails_is_named_with_the_reason_and_not_waited_for() {
    let cluster = Cluster::start(3, 6, || Failing).await.unwrap();
    let (leader, _) = roles(&cluster).await;
    let written = cluster.write_encoded(leader, encoded("a command", &()), Duration::from_secs(5));
    written.await.unwrap_err();
    let begun = Instant::now();
    let error = cluster.add_node().await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(RECOVERY_SECONDS) / 2, "{error}");
    assert!(matches!(error, ClusterError::Stopped { .. }), "{error}");
    assert!(error.to_string().contains("no such shelf"), "{error}");
}

/// Stores a number, and on one node another one: all that could tell is its state.
struct Planted {
    is_wrong: bool,
}

impl Application for Planted {
    const SCHEMA: u32 = 1;
    type Command = u64;
    type Response = ();
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, number: u64) -> Result<(), StorageError> {
        let flipped = u64::from(self.is_wrong && number == 3) << 40;
        txn.merge(b"number", &(number ^ flipped).to_le_bytes())
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.get(b"number")?.map_or(0, |bytes| bytes.len() as u64))
    }

    fn merge_operator(&self) -> Option<&dyn MergeOperator> {
        Some(self)
    }
}

impl MergeOperator for Planted {
    fn merge(&self, _: &[u8], older: &[u8], operand: &[u8]) -> Result<Vec<u8>, String> {
        Ok([older, operand].concat())
    }
}

/// A cluster whose node `wrong` is wrong, when every node has applied all of some writes.
async fn planted(nodes: u64, wrong: u64) -> Cluster<Planted> {
    let made = AtomicU64::new(0);
    let planted = move || Planted { is_wrong: made.fetch_add(1, Ordering::SeqCst) + 1 == wrong };
    let cluster = Cluster::start(nodes, 8, planted).await.unwrap();
    for number in 0..WRITES {
        cluster.write(1, number).await.unwrap();
    }
    cluster.converged().await.unwrap();
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_applies_something_else_is_told_from_the_others() {
    let cluster = planted(3, 2).await;
    let judged = cluster.judgements().await;
    let Judgement::Wrong { majority, difference } = &judged[&2] else { panic!("{judged:?}") };
    assert_eq!((majority, difference.same_until), (&[1, 3].into(), Some(difference.at - 1)));
    for node in [1, 3] {
        assert_eq!(judged[&node], Judgement::Others([(2, *difference)].into()));
    }
    let error = cluster.check().await.unwrap_err();
    assert!(matches!(error, ClusterError::State { node: 2, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_that_differ_neither_is_known_to_be_wrong() {
    let cluster = planted(2, 2).await;
    let judged = cluster.judgements().await;
    assert!(judged.values().all(|judgement| matches!(judgement, Judgement::Undecided(_))), "{judged:?}");
}
