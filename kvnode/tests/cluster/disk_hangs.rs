//! Attacks with a disk that does not answer: no sync of a node returns for a while. Nothing is
//! wrong with what is stored, so that this is no fault; but a leader that stores nothing must not
//! keep leading.

use std::time::{Duration, Instant};

use crate::support::session::{Session, failure, operation, put as putting};
use crate::support::{
    Cluster, ClusterOptions, Dice, Interposer, Kvcli, Load, LoadOptions, Node, beside_others, signal, wait,
};
use kvcli::ReadMode;
use proto::kv::v1::{GetRequest, Operation, PutRequest};
use rustix::process::Signal;
use tonic::{Code, Request, Status};

/// A call counts as hanging after 3 s. Others run on this machine, too: what is not noticed is
/// never noticed.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Of the writers, while the leader's disk hangs: until that is noticed, and another one leads.
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// Of a request to a leader whose disk hangs.
const DEADLINE: Duration = Duration::from_secs(20);
/// Shorter than it takes to notice that the disk hangs.
const SHORT_DEADLINE_MS: u32 = 1000;
/// Once the node says that its disk hangs, no request waits for it, nor for another leader, which
/// would take 4 s.
const PROMPT: Duration = Duration::from_secs(3);

/// Found: a leader whose disk hung went on leading by its heartbeats, and neither `/readyz` nor
/// the log said anything. It says which file within seconds, another node leads, and when the
/// disk answers the node is well without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_hands_over_and_is_well_again() {
    let _place = beside_others();
    let mut dice = Dice::new("disk_hangs");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let interposer = Interposer::for_cluster_in(cluster.path());
    let id = leader_on(&mut cluster, &interposer).await;

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
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let interposer = Interposer::for_cluster_in(cluster.path());
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

/// A leader whose disk can be made to hang.
async fn leader_on(cluster: &mut Cluster, interposer: &Interposer) -> u64 {
    let id = cluster.followers().await[0];
    interposer.between_disk_and(&mut cluster.node_mut(id).serve);
    cluster.node_mut(id).restart().await;
    wait::until("the node leads", CHANGE_TIMEOUT, async || {
        drop(cluster.client().transfer_leader(id).await);
        wait::is(cluster.leader().await == id, || "another one leads".to_owned())
    })
    .await;
    id
}

/// How both followers of a leader are away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Away {
    Killed,
    Frozen,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_and_whose_followers_were_killed_answers_what_is_so() {
    nobody_can_take_over(Away::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_and_whose_followers_are_frozen_answers_what_is_so() {
    nobody_can_take_over(Away::Frozen).await;
}

/// The disk of the leader of three hangs while no follower can take over. A write that was under
/// way is unknown, at the latest at its deadline; later ones, and reads, are refused at once and
/// not applied; `/readyz` says why. When the followers are back, another node leads, though the
/// disk still hangs.
async fn nobody_can_take_over(away: Away) {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let interposer = Interposer::for_cluster_in(cluster.path());
    let id = leader_on(&mut cluster, &interposer).await;
    cluster.client().put("before", "x").await.unwrap();
    cluster.settled().await;
    let followers = cluster.followers().await;
    for follower in &followers {
        match away {
            Away::Killed => cluster.node_mut(*follower).kill(),
            Away::Frozen => signal(cluster.node(*follower).pid(), Signal::STOP),
        }
    }
    let node = cluster.node(id);
    let mut session = Session::open(node).await;
    interposer.hang(id);
    // The two that wait.
    let ((during, took), (), ()) =
        tokio::join!(put(node, "during", DEADLINE), is_unknown_at_its_deadline(&mut session), says_so(node));
    let status = during.expect_err("a majority stores nothing");
    println!("{away:?}: a write under way ended after {took:.1?}");
    assert!(status.code() == Code::Unknown && status.message().contains("is unknown"), "{status:?}");
    assert!(proof(&status).is_none() && took < DEADLINE, "after {took:.1?}: {status:?}");
    for (outcome, took) in [put(node, "later", DEADLINE).await, get(node, "before", DEADLINE).await] {
        let status = outcome.expect_err("a majority stores nothing");
        assert!(status.code() == Code::Unavailable && proof(&status) == Some("1"), "{status:?}");
        assert!(took < PROMPT && status.message().contains("not applied"), "after {took:.1?}: {status:?}");
    }
    let refused = Kvcli::new(&[node.client_addr()]).run("put later x --timeout 3s").await;
    assert_eq!(refused.code, Some(2), "{refused:#?}");

    for follower in &followers {
        match away {
            Away::Killed => cluster.node_mut(*follower).start(),
            Away::Frozen => signal(cluster.node(*follower).pid(), Signal::CONT),
        }
    }
    wait::until("another node leads", CHANGE_TIMEOUT, async || {
        let others = cluster.nodes.iter().filter(|node| node.id() != id);
        let statuses = futures_util::future::try_join_all(others.map(Node::status)).await?;
        let leaders: Vec<_> = statuses.iter().map(|s| s.header.as_ref().map_or(0, |h| h.leader_id)).collect();
        wait::is(followers.contains(&leaders[0]) && leaders[0] == leaders[1], || format!("{leaders:?}"))
    })
    .await;
    cluster.client().put("after", "x").await.unwrap();
    says_so(cluster.node(id)).await;

    interposer.answer(id);
    is_well_again(cluster.node(id)).await;
    let state = cluster.same_state().await;
    for (key, kept) in [("before", true), ("later", false), ("after", true)] {
        assert_eq!(state.get(key.as_bytes()).is_some(), kept, "{key}");
    }
}

/// Over a session, whose client does not give up by itself: a call's answer comes 20 ms before its
/// client does, which is little on a busy machine.
async fn is_unknown_at_its_deadline(session: &mut Session) {
    let put = Operation { timeout_ms: SHORT_DEADLINE_MS, ..operation(1, putting("short", "x")) };
    session.send([put]).await;
    let answer = session.answers(1).await.remove(&1).expect("the answer is to this operation");
    let failure = failure(&answer);
    assert_eq!(failure.code, Code::DeadlineExceeded as u32, "{failure:?}");
    assert!(failure.message.contains("is unknown") && !failure.not_applied, "{failure:?}");
}

/// How it ended, and after how long.
async fn put(node: &Node, key: &str, deadline: Duration) -> (Result<(), Status>, Duration) {
    let message = PutRequest { key: key.to_owned().into(), value: "x".into(), ..PutRequest::default() };
    let started = Instant::now();
    let answer = node.kv().put(timed(message, deadline)).await;
    (answer.map(drop), started.elapsed())
}

async fn get(node: &Node, key: &str, deadline: Duration) -> (Result<(), Status>, Duration) {
    let message = GetRequest { key: key.to_owned().into(), stale: false };
    let started = Instant::now();
    let answer = node.kv().get(timed(message, deadline)).await;
    (answer.map(drop), started.elapsed())
}

fn timed<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// What proves that nothing was applied.
fn proof(status: &Status) -> Option<&str> {
    status.metadata().get("node-not-applied").map(|proof| proof.to_str().unwrap())
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
