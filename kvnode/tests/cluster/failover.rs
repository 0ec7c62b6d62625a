//! Attacks the time without a leader, and its price: a leader that is killed or frozen is replaced
//! soon, and one that works is not, however slow its disk, busy its machine, or broken its
//! connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{
    Cluster, ClusterOptions, Dice, Front, Interposer, Load, LoadOptions, Node, alone, signal, wait,
};
use proto::kv::v1::PutRequest;
use rustix::process::Signal;

const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Writes that are acknowledged before and after each blow.
const WRITES: u64 = 300;
/// Of every run of the tests; and when a quiet machine is measured.
const FEW: usize = 3;
const MANY: usize = 20;
/// A follower that waited for the lease of a killed leader and for an election timeout took 1.7 s
/// at least, for a frozen one as long. Only the long form, on a quiet machine, asks for what is
/// promised.
const SOONER_THAN_THE_LEASE: Duration = Duration::from_millis(1200);
const SOONER_THAN_A_TIMEOUT: Duration = Duration::from_millis(1650);
const MAX_MEDIAN_KILLED: Duration = Duration::from_millis(700);
const MAX_KILLED: Duration = Duration::from_millis(1500);
const MAX_MEDIAN_FROZEN: Duration = Duration::from_millis(1500);
/// How long no election may come: twice the lease and some.
const PEACE: Duration = Duration::from_secs(4);
const HANG_UPS: usize = 20;
/// Seconds under load; 60 if it is not set. Ten minutes are promised.
const LOAD_SECONDS: &str = "FAILOVER_LOAD_SECONDS";
const SYNC_TAKES: Duration = Duration::from_millis(100);
/// The test takes the silences of a leader from the log.
const LOG_SILENCES: &str = "info,raftnode::standing::succession=debug";

/// What befalls a leader.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blow {
    Killed,
    Frozen,
}

/// Found: a follower waited for the lease and then for an election timeout, 2.07 s in the median,
/// although the killed leader's system refused every connection at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_before_its_lease_has_run_out() {
    let pauses = pauses(Blow::Killed, FEW).await;
    assert!(pauses[FEW / 2] < SOONER_THAN_THE_LEASE, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_is_replaced_once_its_lease_has_run_out() {
    let pauses = pauses(Blow::Frozen, FEW).await;
    assert!(pauses[FEW / 2] < SOONER_THAN_A_TIMEOUT, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty kills on a quiet machine: .ci/run"]
async fn a_killed_leader_is_replaced_as_soon_as_promised() {
    let pauses = pauses(Blow::Killed, MANY).await;
    assert!(pauses[MANY / 2] <= MAX_MEDIAN_KILLED && pauses[MANY - 1] <= MAX_KILLED, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "twenty freezes on a quiet machine: .ci/run"]
async fn a_frozen_leader_is_replaced_as_soon_as_promised() {
    let pauses = pauses(Blow::Frozen, MANY).await;
    assert!(pauses[MANY / 2] <= MAX_MEDIAN_FROZEN, "{pauses:?}");
}

/// The longest time without an acknowledged write, of each blow; sorted.
async fn pauses(blow: Blow, rounds: usize) -> Vec<Duration> {
    let _alone = alone();
    let mut dice = Dice::new("failover");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let options = LoadOptions { readers: 0, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client(), options, &mut dice);
    let mut pauses = Vec::new();
    for _ in 0..rounds {
        pauses.push(pause_after(blow, &mut cluster, &mut load).await);
    }
    pauses.sort();
    println!("{blow:?} {rounds} times: without acknowledged writes for {pauses:.2?}");
    println!("median {:.2?}, longest {:.2?}", pauses[rounds / 2], pauses[rounds - 1]);
    load.stop().await.assert_kept(&cluster.same_state().await);
    pauses
}

async fn pause_after(blow: Blow, cluster: &mut Cluster, load: &mut Load) -> Duration {
    let leader = cluster.leader().await;
    load.progress(WRITES, RECOVERY_TIMEOUT).await;
    load.ledger.pause.restart();
    let node = cluster.node_mut(leader);
    match blow {
        Blow::Killed => node.kill(),
        Blow::Frozen => signal(node.pid(), Signal::STOP),
    }
    load.progress(WRITES, RECOVERY_TIMEOUT).await;
    let pause = load.ledger.pause.longest();
    let node = cluster.node_mut(leader);
    match blow {
        Blow::Killed => node.start(),
        Blow::Frozen => signal(node.pid(), Signal::CONT),
    }
    node.up().await;
    pause
}

/// A cluster whose nodes reach each other through fronts, in the order of their ids.
async fn fronted() -> (Cluster, Vec<Front>) {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let mut fronts = Vec::new();
    for node in &cluster.nodes {
        fronts.push(Front::of(node.ports().raft_addr(), || false).await);
    }
    let peer =
        |(node, front): (&Node, &Front)| format!("{}={}/{}", node.id(), front.addr(), node.client_addr());
    let peers: Vec<_> = cluster.nodes.iter().zip(&fronts).map(peer).collect();
    for (node, front) in cluster.nodes.iter_mut().zip(&fronts) {
        node.serve.peers = peers.join(",");
        node.serve.flags.extend(["--advertise-raft-addr".to_owned(), front.addr().to_owned()]);
    }
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.leader().await;
    (cluster, fronts)
}

/// The term in which `leader` leads; fails if it does not.
async fn term_of(cluster: &Cluster, leader: u64) -> Result<u64, String> {
    let status = cluster.node(leader).status().await?;
    let led_by = status.header.as_ref().map_or(0, |header| header.leader_id);
    wait::is(led_by == leader, || format!("node {led_by} leads")).map(|()| status.term)
}

/// An idle connection that a firewall forgets, a certificate that is replaced, a switch that
/// restarts: connections end, and the leader's port still answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_depose_no_leader() {
    let _alone = alone();
    let mut dice = Dice::new("failover-connections");
    let (cluster, fronts) = fronted().await;
    let leader = cluster.leader().await;
    let term = term_of(&cluster, leader).await.unwrap();
    let mut load = Load::start(&cluster.client(), LoadOptions::default(), &mut dice);
    for _ in 0..HANG_UPS {
        fronts.iter().for_each(Front::hang_up);
        load.progress(WRITES / 10, RECOVERY_TIMEOUT).await;
    }
    assert_eq!(term_of(&cluster, leader).await, Ok(term));
    load.stop().await.assert_kept(&cluster.same_state().await);
}

/// The leader's port refuses the others, as a firewall's might, or an address that is not its own
/// any more. As long as its heartbeats arrive, it leads. Then one follower hears nothing either:
/// it takes the leader for dead, and its word counts for nothing with the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_a_majority_hears_is_not_replaced_although_its_port_refuses() {
    let _alone = alone();
    let (cluster, fronts) = fronted().await;
    let leader = cluster.leader().await;
    let term = term_of(&cluster, leader).await.unwrap();
    let mut fronts: Vec<Option<Front>> = fronts.into_iter().map(Some).collect();
    let mut close = |id: u64| fronts[id as usize - 1] = None;
    let still_leads = async || {
        let put = PutRequest { key: "key".into(), value: "value".into(), ..PutRequest::default() };
        cluster.node(leader).kv().put(put).await.map_err(|e| e.to_string())?;
        let now = term_of(&cluster, leader).await?;
        wait::is(now == term, || format!("term {now}"))
    };
    close(leader);
    wait::holds_for("the leader leads", PEACE, still_leads).await;

    let deaf = cluster.nodes.iter().map(Node::id).find(|id| *id != leader).unwrap();
    close(deaf);
    wait::until("the follower takes its leader for dead", RECOVERY_TIMEOUT, async || {
        let log = cluster.node(deaf).log();
        wait::is(log.contains(&format!("leader {leader} is gone")), || log)
    })
    .await;
    wait::holds_for("the leader leads, and the other asks without raising a term", PEACE, async || {
        still_leads().await?;
        let deaf = cluster.node(deaf).status().await?.term;
        wait::is(deaf == term, || format!("term {deaf} at the follower"))
    })
    .await;
}

/// Every sync takes 100 ms more on each node, writers and readers do what they can, and two threads
/// leave the processors no rest. No vote is ever asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes of full load: .ci/run"]
async fn full_load_and_a_slow_disk_depose_no_leader() {
    let _alone = alone();
    let seconds = std::env::var(LOAD_SECONDS).map_or(60, |text| text.parse().unwrap());
    let mut dice = Dice::new("failover-load");
    let cluster = slow_cluster().await;
    let leader = cluster.leader().await;
    let term = term_of(&cluster, leader).await.unwrap();
    let options = LoadOptions { writers: 128, readers: 16, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client(), options, &mut dice);
    let busy = Busy::start(2);
    load.progress(WRITES, RECOVERY_TIMEOUT).await;
    wait::holds_for("the leader leads", Duration::from_secs(seconds), async || {
        let now = term_of(&cluster, leader).await?;
        wait::is(now == term, || format!("term {now}, and not {term}"))
    })
    .await;
    drop(busy);
    let ledger = load.stop().await;
    println!("{seconds} s: {} writes, {} reads", ledger.acked(), ledger.reads());
    for node in &cluster.nodes {
        println!(
            "node {}: its leader was silent for (ms, until) {:?}",
            node.id(),
            longest_silences(&node.log())
        );
    }
    ledger.assert_kept(&cluster.same_state().await);
}

async fn slow_cluster() -> Cluster {
    let options =
        ClusterOptions { flags: vec!["--log".into(), LOG_SILENCES.into()], ..ClusterOptions::default() };
    let mut cluster = Cluster::prepare(options);
    let interposer = Interposer::for_cluster_in(cluster.path());
    cluster.nodes.iter_mut().for_each(|node| interposer.slow_disk_of(&mut node.serve, SYNC_TAKES));
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.leader().await;
    cluster
}

/// What a node's log says of the ten longest, longest first: milliseconds, and when they ended.
fn longest_silences(log: &str) -> Vec<(u64, &str)> {
    let silence =
        |line: &str| line.split("heard from the leader after ").nth(1)?.split(' ').next()?.parse().ok();
    let mut silences: Vec<(u64, &str)> =
        log.lines().filter_map(|line| Some((silence(line)?, line.split(' ').nth(1)?))).collect();
    silences.sort_by_key(|(millis, _)| std::cmp::Reverse(*millis));
    silences.truncate(10);
    silences
}

/// Threads that compute without end, until this is dropped.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Busy {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let threads = (0..count).map(|_| thread::spawn(spin(stop.clone()))).collect();
        Self { stop, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
