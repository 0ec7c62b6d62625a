//! Attacks the log: is every line of a real cluster what the Elastic Common Schema says, is one
//! request found in all its nodes under one id, and does a healthy cluster keep quiet?

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    Cluster, ClusterOptions, Ended, Kvcli, Node, Series, alone, beside_others, files, run_to_end, wait,
};
use chrono::{NaiveDateTime, Utc};
use futures_util::future::try_join_all;
use kvcli::ReadMode;
use proto::kv::v1::GetRequest;
use serde_json::Value;
use tonic::Request;

/// The schema's rows for the names that we use.
const SCHEMA: &str = include_str!("../../../raftnode/tests/ecs-9.4.0.csv");
/// How long the log of a healthy cluster is watched,
const WATCHED: Duration = Duration::from_secs(8);
/// how long a node may take to do what it does by itself,
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(120);
/// and how long a line may take to be in the file.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

fn flags(line: &str) -> ClusterOptions {
    ClusterOptions {
        flags: line.split_whitespace().map(str::to_owned).collect(),
        ..ClusterOptions::default()
    }
}

/// Every line of the node's log, parsed.
fn records(node: &Node) -> Vec<Value> {
    let log = node.log();
    // The last line may be half written when we look.
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Name, type and mandatory fields as the schema has them; the others are ours, or labels.
fn assert_ecs(record: &Value, schema: &HashMap<&str, &str>, node: u64) {
    let members = record.as_object().unwrap_or_else(|| panic!("not an object: {record}"));
    for (name, value) in members {
        let fits = match schema.get(name.as_str()) {
            Some(&"keyword" | &"match_only_text" | &"wildcard") => value.is_string(),
            Some(&"date") => value.as_str().is_some_and(is_utc_millis),
            Some(&"long") => value.is_i64(),
            Some(&"object") => value.as_object().is_some_and(|labels| labels.values().all(Value::is_string)),
            Some(other) => panic!("no such type here: {other}"),
            None => {
                name.starts_with("kvnode.") && (value.is_string() || value.is_i64() || value.is_boolean())
            }
        };
        assert!(fits, "{name} = {value} in {record}");
    }
    for name in ["@timestamp", "log.level", "log.logger", "message", "service.version", "event.dataset"] {
        assert!(members.contains_key(name), "no {name} in {record}");
    }
    assert_eq!((&record["ecs.version"], &record["service.name"]), (&"9.4.0".into(), &"kvnode".into()));
    assert_eq!(record["service.node.name"], node.to_string());
}

/// `2026-01-31T12:00:00.000Z`
fn is_utc_millis(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

fn schema() -> HashMap<&'static str, &'static str> {
    SCHEMA.lines().filter(|row| !row.starts_with('#')).map(|row| row.split_once(',').unwrap()).collect()
}

/// Everything at debug, dependencies included, through an election and the loss of a node: every
/// line is one object with listed names and types. One own field never has two types, on no node:
/// an index would refuse the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_a_real_cluster_is_what_the_schema_says() {
    let _place = beside_others();
    let mut cluster = Cluster::start(flags("--log-format json --log debug")).await;
    let client = cluster.client();
    for n in 0..20 {
        client.put(format!("key {n}"), "value").await.unwrap();
    }
    client.get("key 1", ReadMode::Linearizable).await.unwrap();
    cluster.nodes[0].kv().get(GetRequest::default()).await.unwrap_err();
    let leader = cluster.leader().await;
    cluster.node_mut(leader).kill();
    cluster.leader().await;
    client.put("after", "value").await.unwrap();
    cluster.node_mut(leader).start();
    cluster.node_mut(leader).up().await;
    assert!(cluster.node_mut(leader).stop().await.success());

    let (schema, mut types, mut foreign, mut total) = (schema(), HashMap::new(), 0, 0);
    for node in &cluster.nodes {
        for record in records(node) {
            assert_ecs(&record, &schema, node.id());
            total += 1;
            let logger = record["log.logger"].as_str().unwrap();
            foreign += usize::from(
                !["kvnode", "raftnode", "network_grpc", "storage_leveldb"]
                    .iter()
                    .any(|own| logger.starts_with(own)),
            );
            for (name, value) in record.as_object().unwrap() {
                let kind = std::mem::discriminant(value);
                assert_eq!(
                    *types.entry(name.clone()).or_insert(kind),
                    kind,
                    "{name} has two types: {record}"
                );
            }
        }
    }
    println!("{total} lines, {foreign} of them from dependencies");
    assert!(foreign > 100 && total > foreign + 20, "{foreign} of {total} lines are from dependencies");
}

/// `kvcli put` against a follower: the id that kvcli prints is in the follower's log (answered,
/// forwarded), in the leader's (answered, applied); the leader's line leads to the line of every
/// node that applies the entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_followed_from_kvcli_to_the_apply_on_every_node() {
    let _place = beside_others();
    let cluster = Cluster::start(flags("--log-format json --log info,kvnode=debug,raftnode=debug")).await;
    let (leader, follower) = (cluster.leader().await, cluster.followers().await[0]);
    let ended = Kvcli::new(&[cluster.node(follower).client_addr()]).run("--verbose put key value").await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "OK\n"), "{ended:#?}");
    let trace =
        ended.stderr.trim().strip_prefix("trace id ").unwrap_or_else(|| panic!("{ended:#?}")).to_owned();
    assert!(trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()), "{trace}");
    cluster.settled().await;

    let at_follower = found(cluster.node(follower), &trace, &["put", "forwarding to the leader"]).await;
    assert_eq!(at_follower["forwarding to the leader"]["kvnode.to"], leader);
    assert_eq!(at_follower["put"]["kvnode.forwarded"], false);
    let at_leader = found(cluster.node(leader), &trace, &["write", "applied"]).await;
    assert_eq!(at_leader["write"]["kvnode.forwarded"], true);
    assert_eq!(at_leader["write"]["event.outcome"], "success");
    assert_ne!(at_leader["write"]["span.id"], at_follower["put"]["span.id"]);
    let applied = &at_leader["applied"];
    let names = ["kvnode.log_index", "kvnode.client_id", "kvnode.sequence"];
    assert!(
        applied["kvnode.term"].is_i64() && names.iter().all(|name| !applied[*name].is_null()),
        "{applied}"
    );
    for node in &cluster.nodes {
        let same = |record: &Value| {
            record["event.action"] == "apply" && names.iter().all(|name| record[*name] == applied[*name])
        };
        wait::until("the node's line about the apply", LINE_TIMEOUT, async || {
            let count = records(node).iter().filter(|record| same(record)).count();
            wait::is(count == 1, || format!("node {}: {count} lines", node.id()))
        })
        .await;
        assert!(
            node.id() == leader || node.id() == follower || !node.log().contains(&trace),
            "not its request"
        );
    }
}

/// The node's lines with this trace, by `event.action` or message; all of `names` must be there.
async fn found(node: &Node, trace: &str, names: &[&str]) -> HashMap<String, Value> {
    wait::until(&format!("node {} logs trace {trace}", node.id()), LINE_TIMEOUT, async || {
        let records = records(node).into_iter().filter(|record| record["trace.id"] == trace);
        let named = records.map(|record| {
            let name = record["event.action"].as_str().or(record["message"].as_str()).unwrap_or_default();
            (name.to_owned(), record)
        });
        let named: HashMap<_, _> = named.collect();
        wait::is(names.iter().all(|name| named.contains_key(*name)), || format!("{named:#?}")).map(|()| named)
    })
    .await
}

/// At the default level, as text: a cluster that works says nothing at all, and so nothing while a
/// client puts and gets, snapshots are built (every 100 entries here), and every node's metrics and
/// readiness are polled. Alone on the machine: an election is no business
/// of a healthy cluster, and is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_cluster_under_light_load_logs_nothing() {
    logs_nothing(false).await;
}

/// The same until everything that a node does by itself has happened on every node meanwhile, which
/// in a cluster with little to do takes an hour: also the log that is purged, a memtable that is
/// flushed and tables that are compacted, and a new segment of the log (one takes 24 MiB).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes until tables are compacted, and needs the machine for itself: .ci/run"]
async fn a_healthy_cluster_logs_nothing_of_its_upkeep() {
    logs_nothing(true).await;
}

async fn logs_nothing(and_all_upkeep: bool) {
    const PUTS_AT_ONCE: usize = 8;
    const VALUE_BYTES: usize = 64 * 1024;
    let _alone = alone();
    let cluster =
        Cluster::start(ClusterOptions { snapshot_entries: Some(100), ..ClusterOptions::default() }).await;
    let client = cluster.client();
    client.put("warm", "up").await.unwrap();
    cluster.settled().await;
    let built = snapshots_built(&cluster).await;
    let upkeep: Vec<_> = cluster.nodes.iter().map(Upkeep::of).collect();
    let before: Vec<String> = cluster.nodes.iter().map(Node::log).collect();
    let (started, mut operations) = (Instant::now(), 0);
    let mut use_it = async || {
        let puts =
            (0..PUTS_AT_ONCE).map(|n| client.put(format!("key {}", operations + n), vec![b'x'; VALUE_BYTES]));
        try_join_all(puts).await.map_err(|e| e.to_string())?;
        client.get("warm", ReadMode::Linearizable).await.map_err(|e| e.to_string())?;
        operations += PUTS_AT_ONCE + 1;
        for (node, before) in cluster.nodes.iter().zip(&before) {
            node.http("/metrics").await?;
            node.http("/readyz").await?;
            let log = node.log();
            wait::is(log == *before, || format!("node {} wrote: {}", node.id(), &log[before.len()..]))?;
        }
        Ok(())
    };
    wait::holds_for("the log is quiet", WATCHED, &mut use_it).await;
    wait::until("every node has done what it does by itself", UPKEEP_TIMEOUT, async || {
        use_it().await.expect("the log is quiet");
        let (built, statuses) = (snapshots_built(&cluster).await - built, cluster.statuses().await?);
        let is_purged = statuses.iter().all(|status| status.purged_index > 0);
        let now: Vec<_> = cluster.nodes.iter().map(Upkeep::of).collect();
        let all = upkeep.iter().zip(&now).all(|(before, now)| now.has_done_all_since(before));
        let done = built >= 3.0 && (all && is_purged || !and_all_upkeep);
        wait::is(done, || format!("{built} snapshots, purged {is_purged}, from {upkeep:?} to {now:?}"))
    })
    .await;
    let now: Vec<_> = cluster.nodes.iter().map(Upkeep::of).collect();
    let built = snapshots_built(&cluster).await - built;
    println!("0 lines in {:.1?}, {operations} operations and {built} snapshots; {now:?}", started.elapsed());
    for line in before.iter().flat_map(|log| log.lines()) {
        assert_text_columns(line);
    }
}

/// What a storage has done by itself, as its directory shows: numbers of segments and tables only
/// grow.
#[derive(Debug)]
struct Upkeep {
    /// The newest segment of the log; it is prepared when the one before it is begun.
    segment: u64,
    /// The newest table of the state,
    table: u64,
    /// and how many there are. Nothing but a compaction takes one away.
    tables: u64,
}

impl Upkeep {
    fn of(node: &Node) -> Self {
        let numbers = |pattern: &str| -> Vec<u64> {
            let found = files(&node.serve.data_dir, pattern);
            let number = |path: &PathBuf| path.to_str()?.rsplit_once('-')?.1.parse().ok();
            found.iter().filter_map(number).collect()
        };
        let tables = numbers("storage/state/table-*");
        let newest = |numbers: &[u64]| numbers.iter().max().copied().unwrap_or_default();
        Self {
            segment: newest(&numbers("storage/log/segment-*")),
            table: newest(&tables),
            tables: tables.len() as u64,
        }
    }

    /// A segment, a flush, and a compaction, which makes one table of four.
    fn has_done_all_since(&self, before: &Self) -> bool {
        let (written, more) = (self.table - before.table, self.tables.saturating_sub(before.tables));
        self.segment > before.segment && written > 0 && written >= more + 4
    }
}

async fn snapshots_built(cluster: &Cluster) -> f64 {
    let mut built = 0.0;
    for node in &cluster.nodes {
        let (_, text) = node.http("/metrics").await.unwrap();
        built += Series::parse(&text).sum("snapshot_build_seconds_count", &[]);
    }
    built
}

/// `2026-01-31 12:00:00.000 LEVEL message`
fn assert_text_columns(line: &str) {
    let (time, rest) = line.split_at_checked(24).unwrap_or_else(|| panic!("too short: {line}"));
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00 00:00:00.000 ", "{line}");
    assert!(["INFO  ", "WARN  ", "ERROR "].iter().any(|level| rest.starts_with(level)), "{line}");
}

/// A client that asks for nonsense as fast as it can: a handful of lines, which say what they leave
/// out, and the trace id that the client sent is in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bad_requests_does_not_flood_the_log() {
    let _place = beside_others();
    let cluster = Cluster::start(flags("--log-format json")).await;
    let mut kv = cluster.nodes[0].kv();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for _ in 0..2000 {
        let mut request = Request::new(GetRequest::default());
        let header = format!("00-{trace}-00f067aa0ba902b7-01");
        request.metadata_mut().insert("traceparent", header.parse().unwrap());
        kv.get(request).await.unwrap_err();
    }
    let refused: Vec<_> = records(&cluster.nodes[0])
        .into_iter()
        .filter(|record| record["message"] == "request refused")
        .collect();
    // Five in each ten seconds; 2000 requests take less than a minute on the slowest machine.
    assert!((5..=30).contains(&refused.len()), "{} lines", refused.len());
    for record in &refused {
        assert_ecs(record, &schema(), 1);
        assert_eq!((&record["trace.id"], &record["log.level"]), (&trace.into(), &"info".into()));
        assert_eq!(
            (&record["error.type"], &record["event.outcome"]),
            (&"InvalidArgument".into(), &"failure".into())
        );
    }
}

/// A start that fails after the options were understood: one line in the asked-for format, which
/// names the port. Bad options are a text for people, whatever the format.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_start_is_a_line_too() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(flags("--log-format json"));
    let taken = std::net::TcpListener::bind(cluster.nodes[0].client_addr()).unwrap();
    let ended = run_to_end(cluster.nodes[0].serve.command(), LINE_TIMEOUT).await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:#?}");
    let record: Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_ecs(&record, &schema(), 1);
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(
        record["message"].as_str().unwrap().contains(&port) && record["log.level"] == "error",
        "{record}"
    );
    cluster.nodes[0].serve.peers = "nonsense".to_owned();
    let ended = run_to_end(cluster.nodes[0].serve.command(), LINE_TIMEOUT).await;
    assert!(ended.code == Some(3) && ended.stderr.starts_with("error: "), "{ended:#?}");
}

/// The time of a text line is that of `TZ`: a name of the machine's database of zones, or what
/// POSIX says for machines that have none, as in the image. A name that cannot be resolved counts
/// as none, and is no reason not to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_lines_are_in_local_time() {
    let _place = beside_others();
    let cluster = Cluster::prepare(ClusterOptions::default());
    // It fails at once, with one line.
    let _taken = std::net::TcpListener::bind(cluster.nodes[0].client_addr()).unwrap();
    let minutes_from_utc = async |zone: Option<&str>| {
        let mut command = cluster.nodes[0].serve.command();
        match zone {
            Some(zone) => command.env("TZ", zone),
            None => command.env_remove("TZ"),
        };
        let off = local_time(&run_to_end(command, LINE_TIMEOUT).await) - Utc::now().naive_utc();
        (off.as_seconds_f64() / 60.0).round()
    };
    for (zone, minutes) in [("UTC", 0.0), ("", 0.0), ("XYZ-5:45", 345.0), ("<-0930>9:30", -570.0)] {
        assert_eq!(minutes_from_utc(Some(zone)).await, minutes, "TZ={zone}");
    }
    let none = minutes_from_utc(None).await;
    assert_eq!(minutes_from_utc(Some("No/Such")).await, none);
    let has_database = Path::new("/usr/share/zoneinfo/Asia/Kathmandu").exists();
    assert_eq!(minutes_from_utc(Some("Asia/Kathmandu")).await, if has_database { 345.0 } else { none });
}

/// Of the one line that a failed start prints.
fn local_time(ended: &Ended) -> NaiveDateTime {
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:#?}");
    assert_text_columns(ended.stderr.trim_end());
    NaiveDateTime::parse_from_str(&ended.stderr[..23], "%Y-%m-%d %H:%M:%S%.3f").unwrap()
}

/// The log has no reader any more (its pipe is closed): the node serves on. Attacked: a line that
/// cannot be written must not be a panic. (With tracing-subscriber's own writer, which complains to
/// the same closed pipe, `cluster init` was never answered.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_survives_the_reader_of_its_log() {
    let _place = beside_others();
    let cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..flags("--log debug") });
    let node = &cluster.nodes[0];
    // The shell's pipe ends at once: `true` reads nothing.
    let mut shell = Command::new("bash");
    let serve = node.serve.command();
    let line = std::iter::once(serve.get_program()).chain(serve.get_args()).map(|arg| arg.to_string_lossy());
    let line = line.map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(" ");
    shell.args(["-c", &format!("exec {line} --exit-on-stdin-eof 2> >(true)")]);
    let mut process = crate::support::Process::start(&mut shell, &cluster.path().join("shell.log"));
    wait::until("the node answers", Duration::from_secs(20), async || node.status().await).await;
    node.admin().init(proto::node::v1::InitRequest {}).await.unwrap();
    cluster.client().put("key", "value").await.unwrap();
    assert_eq!(process.exit_status(), None);
}
