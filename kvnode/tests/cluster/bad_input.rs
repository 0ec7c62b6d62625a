//! Attacks with what must be refused: requests over the limits, command lines that cannot work, and
//! bytes that are no protocol at all.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{
    Cluster, ClusterOptions, Dice, Ended, Load, LoadOptions, Serve, beside_others, run_to_end,
};
use proto::kv::v1::{DeleteRequest, GetRequest, PutRequest, RequestId, ScanRequest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Status};

/// Sooner than any request that waits for something would give up. A busy machine takes seconds.
const AT_ONCE: Duration = Duration::from_secs(4);
/// A node need not read garbage to its end.
const GARBAGE_TIMEOUT: Duration = Duration::from_secs(1);
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(40);
const EXIT_FAILURE: i32 = 1;
const EXIT_BAD_ARGUMENTS: i32 = 3;
/// On each port of each node.
const GARBAGE_CONNECTIONS: usize = 20;
const HALF_OPEN_CONNECTIONS: usize = 100;
const MAX_GARBAGE_BYTES: usize = 20_000;
/// A node that buffered what the oversized frames announce (16 MiB each) would be far beyond it.
const MAX_RESIDENT_BYTES: f64 = 512.0 * 1024.0 * 1024.0;
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Keys and values over the limits, sent by a client that checks nothing itself, to the leader and
/// to a follower: each is INVALID_ARGUMENT at once and names the limit; what is just within the
/// limits is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_the_limits_are_invalid_at_once() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    for node in &cluster.nodes {
        let kv = || node.kv().max_encoding_message_size(usize::MAX);
        let put = |key: usize, value: usize| async move {
            let request = PutRequest {
                key: vec![b'k'; key].into(),
                value: vec![0; value].into(),
                ..PutRequest::default()
            };
            kv().put(request).await.map(|_| ())
        };
        refused(Instant::now(), put(0, 1).await, "empty");
        refused(Instant::now(), put(5 * 1024, 1).await, "4096");
        refused(Instant::now(), put(4097, 1).await, "4096");
        refused(Instant::now(), put(1, 2 * 1024 * 1024).await, "1048576");
        refused(Instant::now(), put(1, 1024 * 1024 + 1).await, "1048576");
        put(4096, 1024 * 1024).await.unwrap();
        let long = || bytes::Bytes::from(vec![b'k'; 5 * 1024]);
        refused(Instant::now(), kv().get(GetRequest { key: long(), stale: false }).await.map(drop), "4096");
        refused(Instant::now(), kv().get(GetRequest { key: long(), stale: true }).await.map(drop), "4096");
        refused(Instant::now(), kv().delete(DeleteRequest::default()).await.map(drop), "empty");
        refused(
            Instant::now(),
            kv().scan(ScanRequest { prefix: long(), ..ScanRequest::default() }).await.map(drop),
            "4096",
        );
        let request_id = Some(RequestId { client_id: vec![1; 15].into(), sequence: 1 });
        let request = PutRequest { key: "k".into(), request_id, ..PutRequest::default() };
        refused(Instant::now(), kv().put(request).await.map(drop), "16");
    }
    assert_eq!(cluster.same_state().await.pairs.len(), 1);
}

#[track_caller]
fn refused(started: Instant, answer: Result<(), Status>, part: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains(part), "no '{part}' in: {status}");
    assert!(started.elapsed() < AT_ONCE, "after {:?}", started.elapsed());
}

/// Command lines that cannot work end with an error that names the flag or the path, the promised
/// exit code, and nothing changed on disk.
///
/// Found: a node whose port was taken had stamped its new data directory before it noticed. Started
/// again with another port, and so with another peer list, it refused the directory as
/// another node's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_lines_that_cannot_work_change_nothing() {
    let _place = beside_others();
    let cluster = Cluster::prepare(ClusterOptions::default());
    let good = cluster.nodes[0].serve.clone();
    unknown_flags(&good).await;
    taken_ports(&good).await;
    unusable_directories(&good, cluster.path()).await;
}

async fn unknown_flags(good: &Serve) {
    let mut command = good.command();
    command.arg("--colour");
    complains(run_to_end(command, REFUSAL_TIMEOUT).await, EXIT_BAD_ARGUMENTS, &["--colour"]);
    let mut command = good.command();
    command.args(["--snapshot-entries", "few", "--log-format", "xml"]);
    let parts = ["--snapshot-entries", "few", "--log-format", "xml"];
    complains(run_to_end(command, REFUSAL_TIMEOUT).await, EXIT_BAD_ARGUMENTS, &parts);
    let bad_id = Serve { id: 0, ..good.clone() };
    complains(run_to_end(bad_id.command(), REFUSAL_TIMEOUT).await, EXIT_BAD_ARGUMENTS, &["--id"]);
    assert!(!good.data_dir.exists(), "a bad command line made the data directory");
}

async fn taken_ports(good: &Serve) {
    for (flag, addr) in [
        ("--client-addr", good.ports.client_addr()),
        ("--raft-addr", good.ports.raft_addr()),
        ("--http-addr", good.ports.http_addr()),
    ] {
        let _taken = TcpListener::bind(&addr).unwrap();
        complains(run_to_end(good.command(), REFUSAL_TIMEOUT).await, EXIT_FAILURE, &[flag, &addr, "in use"]);
        assert!(!good.data_dir.exists(), "the data directory was made although {flag} was taken");
    }
}

async fn unusable_directories(good: &Serve, dir: &Path) {
    let file = dir.join("file");
    std::fs::write(&file, "precious").unwrap();
    // Not even root can make a directory below a file.
    let below_file = Serve { data_dir: file.join("data"), ..good.clone() };
    let parts = ["cannot create", &*file.display().to_string(), "--data-dir"];
    complains(run_to_end(below_file.command(), REFUSAL_TIMEOUT).await, EXIT_FAILURE, &parts);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let foreign = dir.join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.doc"), "precious").unwrap();
    let in_foreign = Serve { data_dir: foreign.clone(), ..good.clone() };
    complains(
        run_to_end(in_foreign.command(), REFUSAL_TIMEOUT).await,
        EXIT_BAD_ARGUMENTS,
        &["thesis.doc", "--data-dir"],
    );
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1, "something was left in a foreign directory");
}

#[track_caller]
fn complains(ended: Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "no '{part}' in {ended:#?}");
    }
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
}

/// A second process on the data directory of a running node is told so, and the first goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_in_use_is_refused() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let (first, spare) = (cluster.nodes[0].serve.clone(), crate::support::free_ports(1)[0]);
    let mut second = Serve { ports: spare, ..first.clone() }.command();
    second.args(["--advertise-client-addr", &first.ports.client_addr()]);
    second.args(["--advertise-raft-addr", &first.ports.raft_addr()]);
    let ended = run_to_end(second, REFUSAL_TIMEOUT).await;
    complains(ended, EXIT_FAILURE, &["in use by another", &*first.data_dir.display().to_string()]);
    cluster.client().put("key", "value").await.unwrap();
    assert_eq!(cluster.same_state().await.pairs.len(), 1);
}

/// On all three ports of all nodes, while writers write: random bytes, torn and oversized HTTP/2
/// frames, connections that are opened and never used. No node may end, panic, grow without bound
/// or lose a write, and no writer may notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_disturbs_nobody() {
    let _place = beside_others();
    let mut dice = Dice::new("bad_input");
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let pids: Vec<_> = cluster.nodes.iter().map(|node| node.pid()).collect();
    let mut load =
        Load::start(&cluster.client(), LoadOptions { writers: 4, ..LoadOptions::default() }, &mut dice);
    load.progress(100, PROGRESS_TIMEOUT).await;
    let mut held = Vec::new();
    for node in &cluster.nodes {
        let ports = node.ports();
        for addr in [ports.client_addr(), ports.raft_addr(), ports.http_addr()] {
            held.extend(half_open(&addr).await);
            throw_garbage(&addr, &mut dice).await;
        }
    }
    load.progress(200, PROGRESS_TIMEOUT).await;
    let ledger = load.stop().await;
    assert_eq!(ledger.unknown() + ledger.refused(), 0, "writers noticed");
    ledger.assert_kept(&cluster.same_state().await);
    for (node, pid) in cluster.nodes.iter().zip(pids) {
        assert!(crate::support::is_running(pid), "node {} has ended", node.id());
        assert!(!node.log().contains("panicked"), "node {} has panicked", node.id());
        let (code, metrics) = node.http("/metrics").await.unwrap();
        let resident = crate::support::Series::parse(&metrics).sum("process_resident_memory_bytes", &[]);
        assert!(code == 200 && resident < MAX_RESIDENT_BYTES, "node {} holds {resident} bytes", node.id());
    }
}

/// Connections that say nothing, or only the beginning of something.
async fn half_open(addr: &str) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for n in 0..HALF_OPEN_CONNECTIONS {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&HTTP2_PREFACE[..n % HTTP2_PREFACE.len()]).await.unwrap();
        held.push(stream);
    }
    held
}

async fn throw_garbage(addr: &str, dice: &mut Dice) {
    for n in 0..GARBAGE_CONNECTIONS {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let bytes = garbage(n, dice);
        // The node may hang up at any byte.
        let _ = tokio::time::timeout(GARBAGE_TIMEOUT, stream.write_all(&bytes)).await;
        let _ = tokio::time::timeout(GARBAGE_TIMEOUT, stream.shutdown()).await;
    }
}

fn garbage(n: usize, dice: &mut Dice) -> Vec<u8> {
    let count = dice.below(MAX_GARBAGE_BYTES);
    let random = dice.bytes(count);
    let settings = frame(0, 4, 0);
    match n % 5 {
        0 => random,
        1 => [HTTP2_PREFACE, &random].concat(),
        // 16 MiB are announced, in a request that was never opened, and in its headers.
        2 => [HTTP2_PREFACE, &settings, &frame(0x00ff_ffff, 0, 1), &random].concat(),
        3 => [HTTP2_PREFACE, &settings, &frame(0x00ff_ffff, 1, 1), &random].concat(),
        _ => {
            [b"POST /raft.v1.Raft/Append HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".as_slice(), &random]
                .concat()
        }
    }
}

/// The head of an HTTP/2 frame.
fn frame(length: u32, kind: u8, stream: u32) -> [u8; 9] {
    let ([_, a, b, c], [s, t, u, v]) = (length.to_be_bytes(), stream.to_be_bytes());
    [a, b, c, kind, 0, s, t, u, v]
}
