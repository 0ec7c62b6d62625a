//! Attacks a rolling restart: all nodes, one after the other, under load, each with SIGTERM.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Dice, Load, LoadOptions, alone, wait};

const PROGRESS: u64 = 500;
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(40);
const READY_TIMEOUT: Duration = Duration::from_secs(40);
/// Far above what a quiet machine shows (docs/benchmarks).
const LONGEST_GAP: Duration = Duration::from_secs(3);

/// A client that tries again sees no failure, whichever node goes, the leader among them; and the
/// writers never stand still for long. Each node is waited for as an operator does it: until
/// `/readyz` says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_all_nodes_are_restarted() {
    let _place = alone();
    let mut dice = Dice::new("rolling restart");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let mut load =
        Load::start(&cluster.client(), LoadOptions { writers: 8, ..LoadOptions::default() }, &mut dice);
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    // The leader last, as an operator does it; then the leader first.
    let mut order = cluster.followers().await;
    order.push(cluster.leader().await);
    restart(&mut cluster, &mut load, &order).await;
    let mut order = cluster.followers().await;
    order.insert(0, cluster.leader().await);
    restart(&mut cluster, &mut load, &order).await;
    let ledger = load.stop().await;
    assert_eq!((ledger.unknown(), ledger.refused()), (0, 0), "writes failed");
    let state = cluster.same_state().await;
    ledger.assert_kept(&state);
}

async fn restart(cluster: &mut Cluster, load: &mut Load, order: &[u64]) {
    let ledger = load.ledger.clone();
    for id in order {
        let leader = cluster.leader().await;
        ledger.pause.restart();
        let node = cluster.node_mut(*id);
        assert!(node.stop().await.success(), "{}", node.log_tail());
        let stopped = ledger.pause.longest();
        node.start();
        wait::until("it is ready", READY_TIMEOUT, async || {
            let (code, why) = node.http("/readyz").await?;
            wait::is(code == 200, || why)
        })
        .await;
        load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
        let longest = ledger.pause.longest();
        println!(
            "node {id} restarted while node {leader} led: the longest time without an acknowledged write was \
             {longest:.0?}, of that until it had stopped {stopped:.0?}"
        );
        assert!(longest < LONGEST_GAP, "node {id}: {longest:?} without an acknowledged write");
    }
}
