//! Attacks the cost of being watched: serving metrics may take less than one hundredth of a node's
//! throughput, which is CPU here.

use std::time::{Duration, Instant};

use crate::support::{Cluster, ClusterOptions, Dice, Load, LoadOptions, Node, alone};

const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
const SCRAPES: u32 = 500;
/// At one scrape a second this is a hundredth of one core, and Prometheus asks every 5 s.
const MAX_CPU_PER_SCRAPE: Duration = Duration::from_millis(10);
/// What is allowed here: half of it, because a node has more series in a larger cluster.
const ALLOWED: Duration = MAX_CPU_PER_SCRAPE.checked_div(2).unwrap();
/// As in `/proc`: `USER_HZ` is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads, the ended ones too.
fn cpu_time(node: &Node) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap();
    // The name, in brackets, may contain anything.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    TICK * ticks
}

/// The CPU that a leader takes for 500 scrapes, less what it takes to be idle for as long. It has
/// been written to, has snapshots, and three members' series.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the machine for itself: .ci/run"]
async fn a_scrape_costs_less_than_a_hundredth_of_a_second_of_cpu() {
    let _alone = alone();
    let mut dice = Dice::new("cost of a scrape");
    let options = ClusterOptions { snapshot_entries: Some(200), ..ClusterOptions::default() };
    let cluster = Cluster::start(options).await;
    let mut load = Load::start(&cluster.client(), LoadOptions::default(), &mut dice);
    load.progress(1000, PROGRESS_TIMEOUT).await;
    load.stop().await;
    cluster.settled().await;
    let leader = cluster.node(cluster.leader().await);

    let (before, started) = (cpu_time(leader), Instant::now());
    let mut bytes = 0;
    for _ in 0..SCRAPES {
        let (code, text) = leader.http("/metrics").await.unwrap();
        assert_eq!(code, 200);
        bytes += text.len();
    }
    let (scraping, took) = (cpu_time(leader) - before, started.elapsed());
    let before = cpu_time(leader);
    // Not a wait for something: what a heartbeat and its like cost in the same time.
    tokio::time::sleep(took).await;
    let idle = cpu_time(leader) - before;

    let each = scraping.saturating_sub(idle) / SCRAPES;
    println!(
        "{SCRAPES} scrapes of {} bytes in {took:.2?}: {scraping:?} of CPU, {idle:?} idle, {each:?} each",
        bytes / SCRAPES as usize
    );
    assert!(scraping > Duration::ZERO, "this process's time cannot be read");
    assert!(each < ALLOWED, "{each:?} of CPU a scrape; {ALLOWED:?} is allowed");
}
