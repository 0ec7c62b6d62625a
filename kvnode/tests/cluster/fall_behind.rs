//! Attacks catching up: a follower misses so much that the log it needs no longer exists.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Dice, Load, LoadOptions, Series, alone, wait};

const WRITES: u64 = 50_000;
/// Each carries several writes.
const SNAPSHOT_ENTRIES: u64 = 500;
/// 50,000 writes on a slow machine.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// A follower is killed; 50,000 writes, several snapshots and purges happen; it is started again
/// while writes go on. It must be sent a snapshot (the log it needs is gone) and then the log, and
/// end up like the others. Attacked are the purge (nothing that a member needs may go without a
/// snapshot that replaces it), the stream of the snapshot and its installation, and the seam
/// between snapshot and log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "50,000 writes, and needs the machine for itself: .ci/run"]
async fn a_follower_catches_up_by_snapshot_and_then_by_log() {
    let _alone = alone();
    let mut dice = Dice::new("fall_behind");
    let options = ClusterOptions { snapshot_entries: Some(SNAPSHOT_ENTRIES), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).await;
    let options =
        LoadOptions { writers: 128, readers: 1, own_keys: 64, shared_keys: 16, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client(), options, &mut dice);
    load.progress(1000, WRITE_TIMEOUT).await;

    let follower = cluster.followers().await[0];
    let reached = cluster.node(follower).status().await.unwrap().last_log_index;
    cluster.node_mut(follower).kill();
    load.progress(WRITES, WRITE_TIMEOUT).await;
    let purged = wait_for_purges(&cluster, reached).await;
    let sent_before = snapshot_bytes_sent(&cluster, follower).await;

    cluster.node_mut(follower).start();
    let behind = cluster.node_mut(follower).up().await;
    println!("the follower comes back at {}, the log begins after {purged}", behind.last_log_index);
    let installed = installed_snapshot(&cluster, follower, purged).await;
    load.progress(1000, WRITE_TIMEOUT).await;
    let ledger = load.stop().await;
    let state = cluster.same_state().await;
    ledger.assert_kept(&state);

    let sent = snapshot_bytes_sent(&cluster, follower).await - sent_before;
    let last = cluster.node(follower).status().await.unwrap().applied_index;
    println!("caught up by a snapshot up to {installed} ({sent} bytes sent), then by the log up to {last}");
    assert!(sent > 0.0, "the leader counted no snapshot bytes");
    assert!(last > installed, "nothing came by the log");
}

/// The leader has built several snapshots, and the log that the follower needs is gone; answers up
/// to where.
async fn wait_for_purges(cluster: &Cluster, reached: u64) -> u64 {
    wait::until("the log is purged beyond the follower", CATCH_UP_TIMEOUT, async || {
        let node = cluster.node(cluster.leader().await);
        let purged = node.status().await?.purged_index;
        let built = series(cluster).await?.sum("snapshot_build_seconds_count", &[]);
        let far = purged > reached + 2 * SNAPSHOT_ENTRIES && built >= 3.0;
        wait::is(far, || format!("purged {purged}, follower {reached}, {built} snapshots")).map(|()| purged)
    })
    .await
}

/// The follower has a snapshot of what it could not have had from the log; answers up to where.
async fn installed_snapshot(cluster: &Cluster, follower: u64, purged: u64) -> u64 {
    wait::until("the follower has installed a snapshot", CATCH_UP_TIMEOUT, async || {
        let status = cluster.node(follower).status().await?;
        let (snapshot, applied) = (status.snapshot_index, status.applied_index);
        let installed = snapshot >= purged && applied >= snapshot;
        wait::is(installed, || format!("snapshot {snapshot}, applied {applied}, purged {purged}"))
            .map(|()| snapshot)
    })
    .await
}

async fn snapshot_bytes_sent(cluster: &Cluster, to: u64) -> f64 {
    let peer = format!("peer=\"{to}\"");
    series(cluster).await.unwrap().sum("snapshot_sent_bytes_total", &[&peer])
}

/// The leader's.
async fn series(cluster: &Cluster) -> Result<Series, String> {
    let (_, text) = cluster.node(cluster.leader().await).http("/metrics").await?;
    Ok(Series::parse(&text))
}
