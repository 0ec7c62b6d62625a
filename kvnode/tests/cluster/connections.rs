//! Attacks with connections: more than there are descriptors, that ask nothing, on every port.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Cluster, ClusterOptions, Node, beside_others, wait};
use kvcli::{Client, ClientOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection that has sent nothing is kept at most, and how late that may be noticed.
const SILENT_TIMEOUT: Duration = Duration::from_secs(15 + 15);
/// A put through nodes that have to connect to the leader anew.
const PUT_TIMEOUT: Duration = Duration::from_secs(10);
/// As nodes count, in `/proc`.
const TICKS_PER_SECOND: u64 = 100;
const HTTP2_BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn limited(open_files: u64) -> ClusterOptions {
    ClusterOptions { ulimits: vec![format!("-n {open_files}")], ..ClusterOptions::default() }
}

/// This process's own limit.
fn may_open(files: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
}

/// Connections to `addr` that send nothing. One that is not accepted in time is left.
fn connect(addr: &str, count: u64) -> Vec<TcpStream> {
    let addr = addr.parse().unwrap();
    let mut streams = Vec::new();
    for _ in 0..count {
        match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
            Ok(stream) => streams.push(stream),
            // The kernel takes no more either.
            Err(_) => break,
        }
    }
    streams
}

fn open_files(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count()
}

/// Processor time it has used, in ticks.
fn processor_ticks(node: &Node) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Found: a client that leaked connections took all descriptors of the leader. The accept loop
/// then used a whole processor, the storage latched, and with 4096 files the others could not
/// reach the leader any more. With as many connections as files and some more on each port: puts
/// through the others, which connect anew, and health checks are answered, descriptors are left,
/// nothing spins, and what has sent nothing is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_nothing_lock_nothing_out() {
    lock_nothing_out(256).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "another half minute for another limit: .ci/run"]
async fn a_thousand_connections_that_ask_nothing_lock_nothing_out() {
    lock_nothing_out(1024).await;
}

async fn lock_nothing_out(limit: u64) {
    may_open(8192);
    let _place = beside_others();
    let cluster = Cluster::start(limited(limit)).await;
    let id = cluster.leader().await;
    let leader = cluster.node(id);
    let ports = leader.ports();
    let addrs = [ports.client_addr(), ports.raft_addr(), ports.http_addr()];
    let mut idle: Vec<_> = addrs.iter().flat_map(|addr| connect(addr, limit + 200)).collect();
    assert!(idle.len() as u64 > limit, "{} connections", idle.len());

    put_through_others(&cluster, id).await;
    is_ready(leader).await;
    let (files, ticks) = (open_files(leader), processor_ticks(leader));
    println!("limit {limit}: {} connections, the leader has {files} files open", idle.len());
    assert!((files as u64) < limit * 3 / 4, "{files} of {limit}");
    let first = &mut idle[0];
    first.set_read_timeout(Some(SILENT_TIMEOUT)).unwrap();
    let begun = Instant::now();
    // What HTTP/2 says first, and then the end; time out, and it is an error.
    let mut said = Vec::new();
    first.read_to_end(&mut said).unwrap_or_else(|e| panic!("open after {:?}: {e}", begun.elapsed()));
    let used = processor_ticks(leader) - ticks;
    let bound = (begun.elapsed().as_secs() + 2) * TICKS_PER_SECOND / 2;
    assert!(used < bound, "{used} ticks in {:?}", begun.elapsed());
    // A busy machine may have had another one elected; but it is neither lost to the others nor
    // without descriptors for its storage.
    put_through_others(&cluster, id).await;
    is_ready(leader).await;
    cluster.same_state().await;
}

async fn is_ready(node: &Node) {
    wait::until("a health check is answered", CHANGE_TIMEOUT, async || {
        let (code, why) = node.http("/readyz").await?;
        wait::is(code == 200, || why)
    })
    .await;
}

async fn put_through_others(cluster: &Cluster, leader: u64) {
    let others = cluster.nodes.iter().filter(|node| node.id() != leader).map(Node::client_addr);
    let options = ClientOptions { timeout: PUT_TIMEOUT, ..ClientOptions::default() };
    let client = Client::connect(others.collect::<Vec<_>>(), options).unwrap();
    wait::until("a put through the others", CHANGE_TIMEOUT, async || {
        client.put("key", "value").await.map(drop).map_err(|e| e.to_string())
    })
    .await;
}

/// Connections that began as gRPC does, and then were forgotten: a place is found for a new one,
/// and not at the cost of one with a request under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_connections_make_room_and_busy_ones_stay() {
    may_open(8192);
    let _place = beside_others();
    let cluster = Cluster::start(limited(256)).await;
    let node = cluster.node(cluster.followers().await[0]);
    let channel = tonic::transport::Endpoint::new(format!("http://{}", node.client_addr())).unwrap();
    let channel = channel.connect().await.unwrap();
    let request = HealthCheckRequest { service: "kv.v1.Kv".to_owned() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    while watch.message().await.unwrap().expect("the stream goes on").status() != ServingStatus::Serving {}
    let mut forgotten = Vec::new();
    for stream in connect(&node.client_addr(), 100) {
        stream.set_nonblocking(true).unwrap();
        let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
        // Fails if it was closed while it had sent nothing.
        drop(stream.write_all(HTTP2_BEGINNING).await);
        forgotten.push(stream);
    }
    wait::until("a new connection is answered", CHANGE_TIMEOUT, async || node.status().await).await;
    // An election is news, and no end.
    let begun = Instant::now();
    while let Some(left) = Duration::from_secs(1).checked_sub(begun.elapsed()) {
        match tokio::time::timeout(left, watch.message()).await {
            Err(_) | Ok(Ok(Some(_))) => {}
            Ok(ended) => panic!("the stream that was open has ended: {ended:?}"),
        }
    }
    for node in &cluster.nodes {
        is_ready(node).await;
    }
}
