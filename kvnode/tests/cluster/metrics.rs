//! Attacks what operators watch: every series that dashboards and alerts rely on, and the probes.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Node, Series, beside_others, wait};
use proto::kv::v1::{DeleteRequest, GetRequest, PutRequest, ScanRequest};
use serde_json::Value;

const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const PUTS: u32 = 50;

/// Histograms show as `_count`, `_sum` and `_bucket`.
const SERIES: [&str; 19] = [
    "kv_requests_total",
    "kv_request_duration_seconds_count",
    "raft_is_leader",
    "raft_leader_id",
    "raft_term",
    "raft_last_log_index",
    "raft_committed_index",
    "raft_applied_index",
    "raft_leader_changes_total",
    "storage_fsync_duration_seconds_count",
    "storage_append_batch_entries_count",
    "storage_written_bytes_total",
    "storage_size_bytes",
    "storage_stall_seconds_count",
    "network_rpc_duration_seconds_count",
    "snapshot_build_seconds_count",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
];

/// Every promised series is there under its name, those that count requests count them, and the
/// gauges of the nodes agree with each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promised_series_is_there_and_moves() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let leader = cluster.leader().await;
    let before = series(cluster.node(leader)).await;
    use_everything(cluster.node(leader)).await;
    let last = cluster.settled().await;
    let after = series(cluster.node(leader)).await;
    for name in SERIES {
        assert!(after.has(name, &[]), "{name} is missing");
    }
    assert_requests_counted(&before, &after);
    assert_storage_moved(&before, &after);
    assert_gauges(&cluster, leader, last).await;
    assert_peer_series(&mut cluster, leader).await;
}

async fn use_everything(node: &Node) {
    let mut kv = node.kv();
    for n in 0..PUTS {
        kv.put(PutRequest { key: format!("k{n}").into(), value: "v".into(), ..PutRequest::default() })
            .await
            .unwrap();
    }
    kv.get(GetRequest { key: "k1".into(), stale: false }).await.unwrap();
    kv.delete(DeleteRequest { key: "k2".into(), ..DeleteRequest::default() }).await.unwrap();
    kv.scan(ScanRequest::default()).await.unwrap().into_inner().message().await.unwrap();
    kv.get(GetRequest::default()).await.unwrap_err();
    node.admin().snapshot(proto::node::v1::SnapshotRequest {}).await.unwrap();
}

fn assert_requests_counted(before: &Series, after: &Series) {
    let grew = |op: &str, outcome: &str| {
        let labels = [&*format!("op=\"{op}\""), &*format!("outcome=\"{outcome}\"")];
        after.sum("kv_requests_total", &labels) - before.sum("kv_requests_total", &labels)
    };
    for (op, outcome, count) in [
        ("put", "ok", f64::from(PUTS)),
        ("get", "ok", 1.0),
        ("delete", "ok", 1.0),
        ("scan", "ok", 1.0),
        ("get", "invalid_argument", 1.0),
    ] {
        assert_eq!(grew(op, outcome), count, "{op} {outcome}");
    }
    let timed = after.sum("kv_request_duration_seconds_count", &["op=\"put\""]);
    assert!(timed >= f64::from(PUTS), "{timed} puts timed");
}

fn assert_storage_moved(before: &Series, after: &Series) {
    for (name, label) in [
        ("storage_fsync_duration_seconds_count", "db=\"log\""),
        ("storage_written_bytes_total", "db=\"log\""),
        ("storage_written_bytes_total", "db=\"state\""),
        ("storage_append_batch_entries_sum", ""),
        ("snapshot_build_seconds_count", ""),
        ("network_rpc_duration_seconds_count", ""),
    ] {
        let (was, is) = (before.sum(name, &[label]), after.sum(name, &[label]));
        assert!(is > was, "{name} {label} went from {was} to {is}");
    }
    for db in ["log", "state"] {
        let bytes = after.sum("storage_size_bytes", &[&format!("db=\"{db}\"")]);
        assert!(bytes > 0.0, "{db} has {bytes} bytes");
    }
    assert!(after.has("storage_size_bytes", &["db=\"snapshot\""]));
}

async fn assert_gauges(cluster: &Cluster, leader: u64, last: u64) {
    for node in &cluster.nodes {
        let series = series(node).await;
        let gauge = |name: &str| series.sum(name, &[]) as u64;
        assert_eq!(gauge("raft_is_leader"), u64::from(node.id() == leader));
        assert_eq!(gauge("raft_leader_id"), leader);
        assert_eq!(gauge("raft_applied_index"), last);
        assert_eq!(gauge("raft_committed_index"), last);
        assert_eq!(gauge("raft_last_log_index"), last);
        assert!(gauge("raft_term") >= 1 && gauge("raft_leader_changes_total") >= 1);
    }
}

/// A dead follower shows in the leader's series that name the peer.
async fn assert_peer_series(cluster: &mut Cluster, leader: u64) {
    let dead = cluster.followers().await[0];
    let peer = format!("peer=\"{dead}\"");
    cluster.node_mut(dead).kill();
    let mut kv = cluster.node(leader).kv();
    kv.put(PutRequest { key: "k".into(), ..PutRequest::default() }).await.unwrap();
    wait::until("the dead follower shows", PROBE_TIMEOUT, async || {
        let series = series(cluster.node(leader)).await;
        let lag = series.sum("raft_replication_lag_entries", &[&peer]);
        let failures = series.sum("network_rpc_failures_total", &[&peer]);
        wait::is(lag >= 1.0 && failures >= 1.0, || format!("lag {lag}, failures {failures}"))
    })
    .await;
}

/// A client that hangs up while its put waits for a majority that is not there is counted, and the
/// time it waited too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_its_client_gives_up_is_counted() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let leader = cluster.leader().await;
    let mut kv = cluster.node(leader).kv();
    // So that the connection is there.
    kv.put(PutRequest { key: "k".into(), ..PutRequest::default() }).await.unwrap();
    cluster.followers().await.into_iter().for_each(|id| cluster.node_mut(id).kill());
    let last = async || Ok::<_, String>(cluster.node(leader).status().await?.last_log_index);
    let before = last().await.unwrap();
    let put = tokio::spawn(async move {
        kv.put(PutRequest { key: "k".into(), ..PutRequest::default() }).await.map(drop)
    });
    // Given up before, it may never have been sent.
    wait::until("the put is in the leader's log", PROBE_TIMEOUT, async || {
        wait::is(last().await? > before, || "it is not".to_owned())
    })
    .await;
    put.abort();
    let ended = put.await;
    assert!(ended.is_err(), "the put was answered without a majority: {ended:?}");
    wait::until("it is counted", PROBE_TIMEOUT, async || {
        let series = series(cluster.node(leader)).await;
        let counted = series.sum("kv_requests_total", &["op=\"put\"", "outcome=\"cancelled\""]);
        let timed = series.sum("kv_request_duration_seconds_count", &["op=\"put\""]);
        wait::is((counted, timed) == (1.0, 2.0), || format!("{counted} counted, {timed} timed"))
    })
    .await;
}

async fn series(node: &Node) -> Series {
    let (code, text) = node.http("/metrics").await.unwrap();
    assert_eq!(code, 200);
    Series::parse(&text)
}

/// A node that is not initialised is live and not ready; one with a leader is both. `/api/status`
/// is JSON that agrees with the gRPC status, and the status page is HTML.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_and_status_tell_the_truth() {
    let _place = beside_others();
    let cluster = Cluster::start_uninitialised(ClusterOptions::default()).await;
    for node in &cluster.nodes {
        assert_eq!(node.http("/livez").await.unwrap(), (200, "ok\n".to_owned()));
        let (code, why) = node.http("/readyz").await.unwrap();
        assert!(code == 503 && why.contains("init"), "{code} {why}");
    }
    cluster.client().init().await.unwrap();
    let leader = cluster.leader().await;
    for node in &cluster.nodes {
        wait::until("the node is ready", PROBE_TIMEOUT, async || {
            let (code, why) = node.http("/readyz").await?;
            wait::is(code == 200, || why)
        })
        .await;
        assert_status_document(node, leader).await;
        let (code, page) = node.http("/").await.unwrap();
        assert!(code == 200 && page.starts_with("<!doctype html>"), "{code} {page}");
    }
}

async fn assert_status_document(node: &Node, leader: u64) {
    let (code, text) = node.http("/api/status").await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let status = node.status().await.unwrap();
    assert_eq!(code, 200);
    assert_eq!(document["node_id"], node.id());
    assert_eq!(document["leader_id"], leader);
    assert_eq!(document["ready"], true);
    assert_eq!(document["term"], status.term);
    assert_eq!(document["role"], if node.id() == leader { "leader" } else { "follower" });
    assert_eq!(document["members"].as_array().map(Vec::len), Some(3));
}
