//! Attacks with a disk that does not answer: no sync of a node returns for a while. Nothing is
//! wrong with what is stored, so that this is no fault; but a leader that stores nothing must not
//! keep leading.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Dice, Interposer, Load, LoadOptions, Node, alone, wait};
use kvcli::ReadMode;

/// A call counts as hanging after 3 s.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(8);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// Of the writers, while the leader's disk hangs: until that is noticed, and another one leads.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Found: a leader whose disk hung went on leading by its heartbeats, and neither `/readyz` nor
/// the log said anything. It says which file within seconds, another node leads, and when the
/// disk answers the node is well without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_hands_over_and_is_well_again() {
    let test = "a_leader_whose_disk_hangs_hands_over_and_is_well_again";
    let _alone = alone();
    let mut dice = Dice::new("disk_hangs");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let Some(interposer) = Interposer::build(cluster.path(), test) else { return };
    let id = cluster.followers().await[0];
    interposer.between_disk_and(&mut cluster.node_mut(id).serve);
    cluster.node_mut(id).restart().await;
    wait::until("the node leads", CHANGE_TIMEOUT, async || {
        drop(cluster.client().transfer_leader(id).await);
        wait::is(cluster.leader().await == id, || "another one leads".to_owned())
    })
    .await;

    let options = LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client(), options, &mut dice);
    load.progress(100, PROGRESS_TIMEOUT).await;
    load.ledger.pause.restart();
    interposer.hang(id);
    says_so(cluster.node(id)).await;
    wait::until("another node leads", CHANGE_TIMEOUT, async || {
        let others = cluster.nodes.iter().filter(|node| node.id() != id);
        let statuses = futures_util::future::try_join_all(others.map(Node::status)).await?;
        let leader = |s: &proto::node::v1::StatusResponse| s.header.as_ref().map_or(0, |h| h.leader_id);
        let leaders: Vec<_> = statuses.iter().map(leader).collect();
        wait::is(leaders[0] != 0 && leaders[0] != id && leaders[0] == leaders[1], || format!("{leaders:?}"))
    })
    .await;
    load.progress(200, PROGRESS_TIMEOUT).await;
    println!("longest pause of the writers {:.2?}", load.ledger.pause.longest());
    assert!(load.ledger.pause.longest() < MAX_PAUSE, "{:?}", load.ledger.pause.longest());

    interposer.answer(id);
    is_well_again(cluster.node(id)).await;
    load.progress(100, PROGRESS_TIMEOUT).await;
    let ledger = load.stop().await;
    ledger.assert_kept(&cluster.same_state().await);
    // It can lead again.
    wait::until("the node leads again", CHANGE_TIMEOUT, async || {
        drop(cluster.client().transfer_leader(id).await);
        wait::is(cluster.leader().await == id, || "another one leads".to_owned())
    })
    .await;
    cluster.client().put("after", "x").await.unwrap();
}

/// A node without others has none to hand over to; it must lead again by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_whose_disk_hangs_goes_on_when_it_answers() {
    let test = "a_single_node_whose_disk_hangs_goes_on_when_it_answers";
    let _alone = alone();
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let Some(interposer) = Interposer::build(cluster.path(), test) else { return };
    interposer.between_disk_and(&mut cluster.nodes[0].serve);
    cluster.nodes[0].restart().await;
    cluster.leader().await;
    let client = cluster.client();
    client.put("before", "x").await.unwrap();
    interposer.hang(1);
    let waiting = client.clone();
    let waiting = tokio::spawn(async move { waiting.put("during", "x").await });
    says_so(&cluster.nodes[0]).await;
    interposer.answer(1);
    is_well_again(&cluster.nodes[0]).await;
    waiting.await.unwrap().unwrap();
    client.put("after", "x").await.unwrap();
    for key in ["before", "during", "after"] {
        assert!(client.get(key, ReadMode::Linearizable).await.unwrap().pair.is_some(), "{key}");
    }
    assert!(cluster.nodes[0].stop().await.success());
}

/// The file below its data directory. It is live: a restart would not help.
async fn says_so(node: &Node) {
    let dir = node.serve.data_dir.join("storage").display().to_string();
    let named = |text: &str| text.contains("the disk hangs: cannot sync") && text.contains(&dir);
    wait::until("/readyz says that the disk hangs", NOTICE_TIMEOUT, async || {
        let (code, why) = node.http("/readyz").await?;
        wait::is(code == 503 && named(&why), || format!("{code} {why}"))
    })
    .await;
    wait::until("the log", NOTICE_TIMEOUT, async || wait::is(named(&node.log()), || node.log_tail())).await;
    let (code, why) = node.http("/livez").await.unwrap();
    assert_eq!(code, 200, "/livez: {why}");
}

async fn is_well_again(node: &Node) {
    wait::until("the node is ready again", CHANGE_TIMEOUT, async || {
        let (code, why) = node.http("/readyz").await?;
        wait::is(code == 200, || why)
    })
    .await;
    wait::until("the log", CHANGE_TIMEOUT, async || {
        wait::is(node.log().contains("the disk answers again"), || node.log_tail())
    })
    .await;
}
