//! Attacks "durable before acknowledged" from outside: strace watches every sync of every node.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Cluster, ClusterOptions, Node, alone, wait};
use futures_util::future::join_all;
use proto::kv::v1::PutRequest;
use proto::kv::v1::kv_client::KvClient;
use tonic::transport::Channel;

const SEQUENTIAL_PUTS: usize = 200;
const WRITERS: usize = 64;
const PUTS_PER_WRITER: usize = 20;
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(10);
/// strace has written everything this long after the node ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

/// Every node runs under strace. Between the sending of a put and its answer, a majority must have
/// begun and completed a sync of its log. And with 64 writers at once, no node may sync as often as
/// there are puts: syncs are shared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_put_is_answered_before_a_majority_has_synced_it() {
    let _alone = alone();
    let mut cluster = Cluster::start(ClusterOptions { traced: true, ..ClusterOptions::default() }).await;
    let leader = cluster.leader().await;
    let one_by_one = put_one_by_one(cluster.node(leader)).await;
    let together = put_together(cluster.node(leader)).await;
    for node in &mut cluster.nodes {
        node.stop().await;
    }
    let mut syncs = Vec::new();
    for node in &cluster.nodes {
        syncs.push(log_syncs(node.serve.trace.as_ref().unwrap()).await);
    }
    assert_synced_before_answered(&one_by_one, &syncs);
    assert_syncs_are_shared(&together, &syncs);
}

/// From the first instant to the second, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: f64,
    to: f64,
}

impl Span {
    fn contains(&self, inner: &Self) -> bool {
        self.from <= inner.from && inner.to <= self.to
    }
}

/// Each put begins when the one before is durable on all nodes, so that no late sync counts for the
/// next.
async fn put_one_by_one(leader: &Node) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut kv = leader.kv();
    for n in 0..SEQUENTIAL_PUTS {
        wait::until("every node has synced the last put", REPLICATION_TIMEOUT, async || {
            let status = leader.status().await?;
            let everywhere =
                status.replication.iter().all(|peer| peer.matched_index == status.last_log_index);
            wait::is(everywhere && status.replication.len() == 2, || format!("{status:?}"))
        })
        .await;
        spans.push(put(&mut kv, &format!("one-by-one/{n}")).await);
    }
    spans
}

/// Answers the span of all of them.
async fn put_together(node: &Node) -> Span {
    let from = now();
    let writer = |w: usize| async move {
        let mut kv = node.kv();
        for n in 0..PUTS_PER_WRITER {
            put(&mut kv, &format!("together/{w}/{n}")).await;
        }
    };
    join_all((0..WRITERS).map(writer)).await;
    Span { from, to: now() }
}

async fn put(kv: &mut KvClient<Channel>, key: &str) -> Span {
    let request =
        PutRequest { key: key.to_owned().into(), value: vec![b'x'; 256].into(), ..PutRequest::default() };
    let from = now();
    kv.put(request).await.unwrap();
    Span { from, to: now() }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn assert_synced_before_answered(puts: &[Span], syncs: &[Vec<Span>]) {
    for (n, put) in puts.iter().enumerate() {
        let nodes = syncs.iter().filter(|syncs| syncs.iter().any(|sync| put.contains(sync))).count();
        assert!(nodes >= 2, "put {n} was answered when {nodes} of 3 nodes had synced their log: {put:?}");
    }
    let mean = puts.iter().map(|put| put.to - put.from).sum::<f64>() / puts.len() as f64;
    println!(
        "{} puts one by one, each synced by a majority first; {:.1} ms each under strace",
        puts.len(),
        mean * 1e3
    );
}

fn assert_syncs_are_shared(span: &Span, syncs: &[Vec<Span>]) {
    let puts = WRITERS * PUTS_PER_WRITER;
    let counts: Vec<_> =
        syncs.iter().map(|syncs| syncs.iter().filter(|sync| span.contains(sync)).count()).collect();
    println!("{puts} puts by {WRITERS} writers at once: {counts:?} syncs of the log on the three nodes");
    assert!(counts.iter().all(|count| *count < puts), "as many syncs as puts");
    assert!(counts.iter().filter(|count| **count > 0).count() >= 2, "no majority synced at all");
}

/// The completed syncs of files of the Raft log in a trace.
async fn log_syncs(trace: &Path) -> Vec<Span> {
    let text = wait::until("strace has written everything", FLUSH_TIMEOUT, async || {
        let text = std::fs::read_to_string(trace).map_err(|e| e.to_string())?;
        // The last thread that exits is the process itself.
        let last = text.lines().next_back().unwrap_or_default();
        wait::is(last.contains("+++ exited with") || last.contains("+++ killed by"), || last.to_owned())
            .map(|()| text)
    })
    .await;
    let mut unfinished = HashMap::new();
    let syncs: Vec<_> = text.lines().filter_map(|line| sync(line, &mut unfinished)).collect();
    assert!(!syncs.is_empty(), "no sync of a log file in {}", trace.display());
    syncs
}

/// One line: `THREAD SECONDS fdatasync(FD<PATH>) = 0 <DURATION>`, or the same torn in two by
/// another thread's line.
fn sync(line: &str, unfinished: &mut HashMap<String, f64>) -> Option<Span> {
    let (thread, rest) = line.split_once(' ')?;
    let (at, call) = rest.trim_start().split_once(' ')?;
    let at: f64 = at.parse().ok()?;
    if call.contains("<unfinished ...>") {
        if call.contains("/storage/log/") {
            unfinished.insert(thread.to_owned(), at);
        }
        return None;
    }
    let from = if call.contains("resumed>") {
        unfinished.remove(thread)?
    } else {
        call.contains("/storage/log/").then_some(at)?
    };
    let (_, result) = call.rsplit_once(") = ").or_else(|| call.rsplit_once(")      = "))?;
    let took: f64 = result.strip_prefix("0 <")?.strip_suffix('>')?.parse().ok()?;
    Some(Span { from, to: from + took })
}

#[test]
fn traces_are_read_as_strace_writes_them() {
    let mut unfinished = HashMap::new();
    let mut read = |line| sync(line, &mut unfinished).map(|span| (span.from, span.to - span.from));
    let whole = "71 100.500000 fdatasync(12</d/storage/log/000003.log>) = 0 <0.250000>";
    assert_eq!(read(whole), Some((100.5, 0.25)));
    assert_eq!(read("72 100.600000 fdatasync(12</d/storage/log/000003.log> <unfinished ...>"), None);
    assert_eq!(read("71 100.650000 fdatasync(13</d/storage/state/table-1/000003.log>) = 0 <0.100000>"), None);
    assert_eq!(read("72 101.100000 <... fdatasync resumed>) = 0 <0.500000>"), Some((100.6, 0.5)));
    assert_eq!(
        read("71 102.000000 fdatasync(12</d/storage/log/000003.log>) = -1 EIO (I/O error) <0.1>"),
        None
    );
    assert_eq!(read("71 103.000000 +++ exited with 0 +++"), None);
}
