//! One real `kvnode serve` process, spoken to over the wire: what the server itself refuses,
//! whatever the client.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ports, free_ports};
use proto::kv::v1 as kv;
use proto::kv::v1::kv_client::KvClient;
use proto::node::v1 as pb;
use proto::node::v1::cluster_client::ClusterClient;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(20);

struct OneNode {
    process: Child,
    client_addr: String,
    raft_addr: String,
    http_addr: String,
    dir: TempDir,
}

const LOG: &str = "kvnode.log";

impl OneNode {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: Ports = free_ports(1)[0];
        let (client_addr, raft_addr, http_addr) = (ports.client_addr(), ports.raft_addr(), ports.http_addr());
        let process = Command::new(env!("CARGO_BIN_EXE_kvnode"))
            .args(["serve", "--id", "1", "--data-dir", dir.path().join("data").to_str().unwrap()])
            .args(["--client-addr", &client_addr, "--raft-addr", &raft_addr, "--http-addr", &http_addr])
            .args(["--peers", &format!("1={raft_addr}/{client_addr}"), "--exit-on-stdin-eof"])
            .stdin(Stdio::piped())
            .stderr(File::create(dir.path().join(LOG)).unwrap())
            .spawn()
            .unwrap();
        let node = Self { process, client_addr, raft_addr, http_addr, dir };
        node.wait_until_up().await;
        node
    }

    async fn wait_until_up(&self) {
        let started = Instant::now();
        while self.cluster().status(pb::StatusRequest {}).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "the node does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.client_addr)).unwrap().connect_lazy()
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel())
    }

    fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }
}

impl Drop for OneNode {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join(LOG));
            eprintln!("--- the log of the node\n{}", log.unwrap_or_default());
        }
    }
}

fn put(key: &[u8], value: Vec<u8>) -> kv::PutRequest {
    kv::PutRequest { key: key.to_vec().into(), value: value.into(), ..Default::default() }
}

fn named(value: &str, client: u8, sequence: u64) -> kv::PutRequest {
    let request_id = Some(kv::RequestId { client_id: vec![client; 16].into(), sequence });
    kv::PutRequest { request_id, ..put(b"named", value.into()) }
}

#[tokio::test]
async fn before_init_every_request_says_what_to_do() {
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    let error = node.kv().put(put(b"k", vec![])).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("cluster init"), "{error}");
    let stale = kv::GetRequest { key: b"k".to_vec().into(), stale: true };
    assert_eq!(node.kv().get(stale).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn limits_are_refused_by_name_and_garbage_is_survived() {
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    node.cluster().init(pb::InitRequest {}).await.unwrap();
    let mut kv = node.kv();
    for (request, limit) in [
        (put(b"", vec![]), "4096"),
        (put(&[7; 4097], vec![]), "4096"),
        (put(b"k", vec![7; 2 * 1024 * 1024]), "1048576"),
        (put(b"k", vec![7; 1024 * 1024 + 1]), "1048576"),
    ] {
        let error = kv.put(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().contains(limit), "{error}");
        assert_eq!(error.metadata().get("node-leader-id").unwrap(), "1");
    }
    for addr in [&node.client_addr, &node.raft_addr, &node.http_addr] {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(&[0xa5; 1000]).unwrap();
    }
    let largest = put(&[7; 4096], vec![9; 1024 * 1024]);
    kv.put(largest.clone()).await.unwrap();
    let get = kv::GetRequest { key: largest.key, stale: false };
    assert_eq!(kv.get(get).await.unwrap().into_inner().pair.unwrap().value, largest.value);
}

#[tokio::test]
async fn a_named_write_is_applied_once() {
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    node.cluster().init(pb::InitRequest {}).await.unwrap();
    let mut kv = node.kv();
    let first = kv.put(named("a", 1, 5)).await.unwrap().into_inner().header.unwrap();
    let again = kv.put(named("a", 1, 5)).await.unwrap().into_inner().header.unwrap();
    assert_eq!(first.revision, again.revision);
    let error = kv.put(named("b", 1, 4)).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
}

#[tokio::test]
async fn a_scan_larger_than_one_message_arrives_whole_and_in_order() {
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    node.cluster().init(pb::InitRequest {}).await.unwrap();
    let mut kv = node.kv();
    for n in 0..12_u8 {
        kv.put(put(&[b'k', n], vec![n; 700 * 1024])).await.unwrap();
    }
    let scan = kv::ScanRequest { prefix: b"k".to_vec().into(), limit: 10, ..Default::default() };
    let mut responses = kv.scan(scan).await.unwrap().into_inner();
    let mut keys = Vec::new();
    while let Some(response) = responses.message().await.unwrap() {
        keys.extend(response.pairs.into_iter().map(|pair| (pair.key[1], pair.value.len())));
    }
    assert_eq!(keys, (0..10).map(|n| (n, 700 * 1024)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_snapshot_is_built_on_request() {
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    node.cluster().init(pb::InitRequest {}).await.unwrap();
    let put = node.kv().put(put(b"k", vec![1])).await.unwrap().into_inner().header.unwrap();
    let snapshot = node.cluster().snapshot(pb::SnapshotRequest {}).await.unwrap().into_inner();
    assert!(snapshot.snapshot_index >= put.revision, "{snapshot:?}");
}

#[tokio::test]
async fn the_node_stops_when_its_standard_input_ends() {
    let _place = crate::support::beside_others();
    let mut node = OneNode::start().await;
    drop(node.process.stdin.take());
    let started = Instant::now();
    loop {
        if let Some(status) = node.process.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "still running");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Without a leader the node is not serving; afterwards it is, and it tells what it speaks.
#[tokio::test]
async fn grpc_health_and_reflection_tell_the_truth() {
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(node.channel());
    let mut serving = async || {
        let request = tonic_health::pb::HealthCheckRequest { service: "kv.v1.Kv".to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        status == tonic_health::pb::health_check_response::ServingStatus::Serving
    };
    assert!(!serving().await);
    node.cluster().init(pb::InitRequest {}).await.unwrap();
    let look = async || crate::support::wait::is(serving().await, || "not serving".to_owned());
    crate::support::wait::until("health follows readiness", PATIENCE, look).await;

    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    let question = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(node.channel());
    let asked = reflection.server_reflection_info(tokio_stream::once(question));
    let answer = asked.await.unwrap().into_inner().message().await.unwrap();
    let answer = format!("{answer:?}");
    assert!(answer.contains("kv.v1.Kv") && answer.contains("node.v1.Cluster"), "{answer}");
    assert!(!answer.contains("raft.v1"), "{answer}");
}

/// Writes that come in while others are on their way share an entry of the log; each has a revision
/// of its own, and one that is refused concerns no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_together_share_an_entry() {
    const WRITES: u64 = 512;
    let _place = crate::support::beside_others();
    let node = OneNode::start().await;
    node.cluster().init(pb::InitRequest {}).await.unwrap();
    let last =
        async || node.cluster().status(pb::StatusRequest {}).await.unwrap().into_inner().last_log_index;
    let before = last().await;
    let kv = KvClient::new(node.channel());
    let put = |n: u64| {
        let mut kv = kv.clone();
        // The second write of a client under an older number is refused, among those that are not.
        let id = (n % 8 == 7).then(|| kv::RequestId { client_id: vec![7; 16].into(), sequence: WRITES - n });
        let request = kv::PutRequest {
            key: n.to_string().into(),
            value: "v".into(),
            request_id: id,
            ..kv::PutRequest::default()
        };
        async move { (n, kv.put(request).await) }
    };
    let ended = futures_util::future::join_all((0..WRITES).map(put)).await;
    let (mut revisions, mut refused) = (Vec::new(), 0);
    for (n, outcome) in ended {
        match outcome {
            Ok(answer) => revisions.push(answer.into_inner().header.unwrap().revision),
            Err(status) => {
                assert_eq!((n % 8, status.code()), (7, Code::FailedPrecondition), "{n}: {status}");
                refused += 1;
            }
        }
    }
    revisions.sort_unstable();
    let all: Vec<_> = (1..=revisions.len() as u64).collect();
    assert_eq!(revisions, all, "each write has a revision of its own");
    let entries = last().await - before;
    println!("{WRITES} writes, {refused} refused, in {entries} entries");
    assert!(entries <= WRITES / 2, "{WRITES} writes took {entries} entries");
}
