//! Attacks both promises with full disks: each node has a tmpfs of its own, which is filled under
//! load.
//!
//! How it could fail: an acknowledged write was never written; a leader that cannot write goes on
//! leading; a node that cannot write answers wrongly, or ends without a word; what a failed write
//! left behind keeps the node from starting when there is room.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Dice, Kvcli, Load, LoadOptions, Node, alone, wait};
use kvcli::Client;
use proto::kv::v1::{GetRequest, PutRequest};
use tonic::{Code, Status};

const DISK_MIB: u64 = 32;
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(15);
/// A node with a full disk notices with its next write that needs another page.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_PAUSE: Duration = Duration::from_secs(6);

async fn start() -> Cluster {
    Cluster::start(ClusterOptions { disk_mib: Some(DISK_MIB), ..ClusterOptions::default() }).await
}

fn load(client: &Client, dice: &mut Dice) -> Load {
    let options = LoadOptions { writers: 4, readers: 1, value_bytes: 512, ..LoadOptions::default() };
    Load::start(client, options, dice)
}

/// The disks of a follower and then of the leader fill up under load. Writes go on through the
/// others, after a pause no longer than an election; the full node says so on every surface, also
/// when it is started again too early; once there is room and it is started again it catches up,
/// and nothing acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_full_disk_says_so_and_the_others_go_on() {
    let _alone = alone();
    let mut dice = Dice::new("full_disk");
    let mut cluster = start().await;
    // Writers that wait longer than any pause see no failure.
    let mut load = load(&cluster.client(), &mut dice);
    load.progress(200, PROGRESS_TIMEOUT).await;

    let follower = cluster.followers().await[0];
    let pause = fill_under(&mut load, &cluster, follower).await;
    println!("a follower's disk is full: longest pause of the writers {pause:.2?}");
    recover(&mut load, &mut cluster, follower).await;

    let leader = cluster.leader().await;
    let pause = fill_under(&mut load, &cluster, leader).await;
    println!("the leader's disk is full: longest pause of the writers {pause:.2?}");
    assert!(pause < MAX_PAUSE, "{pause:?}");
    recover(&mut load, &mut cluster, leader).await;

    let ledger = load.stop().await;
    assert_eq!(ledger.refused() + ledger.unknown(), 0, "writers saw failed writes");
    ledger.assert_kept(&cluster.same_state().await);
}

/// Answers the longest pause of the writers.
async fn fill_under(load: &mut Load, cluster: &Cluster, id: u64) -> Duration {
    load.ledger.pause.restart();
    cluster.disk(id).fill();
    says_so(cluster.node(id)).await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    let pause = load.ledger.pause.longest();
    refuses(cluster.node(id)).await;
    pause
}

/// Restarted while the disk is full, and again when there is room.
async fn recover(load: &mut Load, cluster: &mut Cluster, id: u64) {
    assert_eq!(cluster.node_mut(id).stop().await.code(), Some(1), "a failed node ends well");
    cluster.node_mut(id).start();
    says_so(cluster.node(id)).await;
    refuses(cluster.node(id)).await;
    load.progress(100, PROGRESS_TIMEOUT).await;
    cluster.disk(id).make_room();
    cluster.node_mut(id).kill();
    cluster.node_mut(id).start();
    cluster.node_mut(id).up().await;
    wait::until("the node is ready again", PROGRESS_TIMEOUT, async || {
        let (code, why) = cluster.node(id).http("/readyz").await?;
        wait::is(code == 200, || why)
    })
    .await;
    load.progress(100, PROGRESS_TIMEOUT).await;
}

fn names_the_disk(text: &str, node: &Node) -> bool {
    text.contains("disk full") && text.contains(&node.serve.data_dir.display().to_string())
}

async fn says_so(node: &Node) {
    wait::until("the node says that its disk is full", NOTICE_TIMEOUT, async || {
        let (code, why) = node.http("/readyz").await?;
        wait::is(code == 503 && names_the_disk(&why, node), || format!("{code} {why}"))
    })
    .await;
    let (code, why) = node.http("/livez").await.unwrap();
    assert!(code == 503 && names_the_disk(&why, node), "/livez: {code} {why}");
    wait::until("its log says so", NOTICE_TIMEOUT, async || {
        wait::is(names_the_disk(&node.log_of_this_run(), node), || node.log_tail())
    })
    .await;
}

/// Reads, too: what a node applied while it could not write is not to be told from what it did not.
async fn refuses(node: &Node) {
    for (what, answer) in [
        ("a put", put(node).await),
        ("a get", get(node, false).await),
        ("a stale get", get(node, true).await),
    ] {
        let status = answer.expect_err(what);
        let named = status.message().contains(&format!("disk full on node {}", node.id()));
        assert!(status.code() == Code::ResourceExhausted && named, "{what}: {status:?}");
    }
}

async fn put(node: &Node) -> Result<(), Status> {
    node.kv().put(PutRequest { key: "refused".into(), ..PutRequest::default() }).await.map(drop)
}

async fn get(node: &Node, stale: bool) -> Result<(), Status> {
    let answer = node.kv().get(GetRequest { key: "before".into(), stale }).await?;
    assert_eq!(answer.into_inner().pair.expect("a key that was acknowledged").value, "value");
    Ok(())
}

/// All disks fill up under load. Writes must be refused with a status that says so, and reads be
/// right or refused; at most one node may have found nothing to write and only miss the others.
/// After making room and a restart everything acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_full_disks_refuses_and_loses_nothing() {
    let _alone = alone();
    let mut dice = Dice::new("full_disk, all");
    let mut cluster = start().await;
    cluster.client().put("before", "value").await.unwrap();
    cluster.settled().await;
    // Short, so that writers see refusals.
    let mut load = load(&cluster.client_with(Duration::from_secs(3)), &mut dice);
    load.progress(200, PROGRESS_TIMEOUT).await;
    cluster.nodes.iter().for_each(|node| cluster.disk(node.id()).fill());
    let full = full_nodes(&cluster).await;
    println!("nodes that say that their disk is full: {full:?}");
    for node in &cluster.nodes {
        if full.contains(&node.id()) {
            refuses(node).await;
        } else {
            let refusals = [put(node).await, get(node, false).await];
            assert!(
                refusals.iter().all(|r| r.as_ref().is_err_and(|s| s.code() == Code::Unavailable)),
                "{refusals:?}"
            );
            get(node, true).await.unwrap();
        }
    }
    as_an_operator_sees_it(&cluster, &full).await;
    // The writes that were under way as the disks filled up may take until their deadline, and end
    // as unknown.
    wait::until("a writer is refused", NOTICE_TIMEOUT, async || {
        wait::is(load.ledger.refused() > 0, || format!("{} of unknown outcome", load.ledger.unknown()))
    })
    .await;
    load.check();
    let ledger = load.stop().await;

    for node in &mut cluster.nodes {
        let code = node.stop().await.code();
        assert_eq!(code, Some(i32::from(full.contains(&node.id()))), "{}", node.log_tail());
    }
    cluster.nodes.iter().for_each(|node| cluster.disk(node.id()).make_room());
    cluster.start_all();
    cluster.all_up().await;
    cluster.leader().await;
    let state = cluster.same_state().await;
    assert_eq!(state.get(b"before").unwrap().value, "value");
    ledger.assert_kept(&state);
    cluster.client().put("after", "value").await.unwrap();
}

/// Waits until a majority cannot write.
async fn full_nodes(cluster: &Cluster) -> Vec<u64> {
    wait::until("a majority says that its disk is full", NOTICE_TIMEOUT, async || {
        let mut full = Vec::new();
        let mut answers = Vec::new();
        for node in &cluster.nodes {
            let (_, text) = node.http("/readyz").await?;
            full.extend(names_the_disk(&text, node).then_some(node.id()));
            answers.push(text);
        }
        let told = answers.iter().all(|text| text.contains("disk full") || text.contains("no leader"));
        wait::is(full.len() >= 2 && told, || answers.join("")).map(|()| full)
    })
    .await
}

async fn as_an_operator_sees_it(cluster: &Cluster, full: &[u64]) {
    let endpoints: Vec<_> = full.iter().map(|id| cluster.node(*id).client_addr()).collect();
    let refused = Kvcli::new(&endpoints).run("put key value").await;
    assert!(refused.code == Some(4) && refused.stderr.contains("disk full on node"), "{refused:?}");
    let refused = Kvcli::new(&cluster.endpoints()).run("put key value --timeout 1s").await;
    assert!(matches!(refused.code, Some(2 | 4)) && !refused.stderr.is_empty(), "{refused:?}");
    let status = Kvcli::new(&cluster.endpoints()).run("cluster status").await;
    assert!(status.stdout.contains("No space left"), "{status:?}");
}
