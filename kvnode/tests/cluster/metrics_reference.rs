//! Attacks the metrics as an interface: the reference, and what a node shows that has no leader or
//! no storage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::busy::{busy_cluster, metrics, put};
use crate::support::{Cluster, ClusterOptions, Series, beside_others, wait};
use proto::kv::v1::PutRequest;

const METRICS: &str = include_str!("../../../docs/operations/metrics.md");
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// docs/operations/metrics.md has an item for every series of a busy leader, with its labels, type
/// and help to the letter, and none for a series that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_is_what_a_node_shows() {
    let _place = beside_others();
    let cluster = busy_cluster().await;
    let leader = cluster.leader().await;
    let shown = shown(&metrics(cluster.node(leader)).await);
    let written = written();
    for (name, row) in &shown {
        assert_eq!(written.get(name), Some(row), "{name}: the page (left) and the node (right) differ");
    }
    let gone: Vec<_> = written.keys().filter(|name| !shown.contains_key(*name)).collect();
    assert!(gone.is_empty(), "on the page, but not shown: {gone:?}");
}

/// Labels, type and help of a series.
type Row = (Vec<String>, String, String);

fn shown(text: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).unwrap().to_owned();
        let series = lines.peek().copied().unwrap_or_default();
        let inside = series
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map_or("", |(inside, _)| inside);
        // No value of these labels has a comma in it.
        let labels =
            inside.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
        let mut labels: Vec<_> = labels.filter(|name| name != "le").collect();
        labels.sort();
        rows.insert(name.to_owned(), (labels, kind, help.to_owned()));
    }
    rows
}

fn written() -> BTreeMap<String, Row> {
    // An item goes on in lines that are indented.
    let joined = METRICS.replace("\n  ", " ");
    let items = joined.lines().filter_map(|line| line.strip_prefix("- `"));
    let row = |line: &str| {
        let (series, rest) = line.split_once("` (").unwrap_or_else(|| panic!("not a series: {line}"));
        let (kind, help) = rest.split_once("): ").unwrap_or_else(|| panic!("not a series: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels =
            labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        (name.to_owned(), (labels.collect(), kind.to_owned(), help.to_owned()))
    };
    items.map(row).collect()
}

/// What a histogram cannot tell apart cannot be seen: syncs are told apart from 50 us to 1 s,
/// requests from 100 us to 10 s, with no step so wide that a quantile between two bounds says
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_fit_what_they_measure() {
    const WIDEST_STEP: f64 = 2.6;
    let _place = beside_others();
    let cluster = busy_cluster().await;
    let text = metrics(cluster.node(cluster.leader().await)).await;
    for (name, label, from, to) in [
        ("storage_fsync_duration_seconds", "db=\"log\"", 0.000_05, 1.0),
        ("storage_fsync_duration_seconds", "db=\"state\"", 0.000_05, 1.0),
        ("kv_request_duration_seconds", "op=\"put\"", 0.000_1, 10.0),
        ("kv_request_duration_seconds", "op=\"get\"", 0.000_1, 10.0),
    ] {
        let prefix = format!("{name}_bucket{{{label},le=\"");
        let bounds = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.split('"').next());
        let bounds: Vec<f64> = bounds.map(|bound| bound.parse().unwrap()).collect();
        let (last, bounds) = bounds.split_last().unwrap_or_else(|| panic!("no {prefix}"));
        assert_eq!((bounds.first(), bounds.last()), (Some(&from), Some(&to)), "{name} {label}: {bounds:?}");
        assert!(last.is_infinite(), "{name} {label}: what takes longer than {to} s is not counted");
        let is_step = |two: &[f64]| two[1] > two[0] && two[1] / two[0] <= WIDEST_STEP;
        assert!(bounds.windows(2).all(is_step), "{name} {label}: {bounds:?}");
    }
}

/// Every value of every label is one of a short list that nothing a client sends can make longer,
/// and there are no more series than a Prometheus takes without notice. The names and ids of
/// clients, keys and addresses are in none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_label_has_values_without_end() {
    /// Of a leader of three that has answered every operation in a few ways.
    const MOST_SERIES: usize = 800;
    const OPS: &str = "put get delete scan write read init status add_learner change_membership transfer_leader snapshot report health set_address save_backup read_index";
    const OUTCOMES: &str = "ok cancelled unknown invalid_argument deadline_exceeded resource_exhausted failed_precondition internal unavailable data_loss permission_denied unauthenticated other same different";
    let _place = beside_others();
    let cluster = busy_cluster().await;
    let leader = cluster.leader().await;
    let long = "k".repeat(5000);
    for key in ["", "a\"b{c=\"d\"}", "\n# HELP forged", &long] {
        let request = || PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
        for node in &cluster.nodes {
            // Some of them are refused, which is counted, too.
            drop(node.kv().put(request()).await);
        }
    }
    for node in &cluster.nodes {
        let text = metrics(node).await;
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in series.clone() {
            let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
            // No value that is expected has a comma in it; one that is not expected shows as
            // another.
            for label in labels.map_or("", |(inside, _)| inside).split(',').filter(|label| !label.is_empty())
            {
                let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("not a label: {line}"));
                values.entry(name).or_default().insert(value.trim_matches('"'));
            }
        }
        values.remove("le");
        let own_id = node.id().to_string();
        let cluster_id = node.status().await.unwrap().header.unwrap().cluster_id;
        for (name, found) in &values {
            let allowed = match *name {
                "op" => OPS,
                "outcome" => OUTCOMES,
                "db" => "log state snapshot",
                "cause" => "sync engine reader flush compaction",
                "rpc" => "append_stream append vote pre_vote transfer_leader snapshot",
                "peer" => "1 2 3",
                "port" => "client peer http",
                "reason" => "unauthenticated permission_denied",
                "node_id" => &own_id,
                "cluster_id" => &cluster_id,
                "cluster_name" => "kv",
                "version" => env!("CARGO_PKG_VERSION"),
                other => panic!("node {}: a label {other} with the values {found:?}", node.id()),
            };
            let allowed: BTreeSet<_> = allowed.split(' ').collect();
            assert!(found.is_subset(&allowed), "node {}, {name}: {found:?}", node.id());
        }
        let count = series.count();
        println!("node {}{}: {count} series", node.id(), if node.id() == leader { " (leader)" } else { "" });
        assert!(values.contains_key("rpc") && values.contains_key("outcome"), "{values:?}");
        assert!((100..MOST_SERIES).contains(&count), "node {}: {count} series", node.id());
    }
}

/// A put through a follower is one request of a client there, and none on the leader, which counts
/// it as forwarded. Found: it was counted on both, so that the sum over the cluster was up to twice
/// the truth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_request_is_counted_once() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let (leader, follower) = (cluster.leader().await, cluster.followers().await[0]);
    put(cluster.node(follower)).await;
    let at = async |id| Series::parse(&metrics(cluster.node(id)).await);
    let puts = |series: &Series| series.sum("kv_requests_total", &["op=\"put\""]);
    let timed = |series: &Series| series.sum("kv_request_duration_seconds_count", &["op=\"put\""]);
    let forwarded = |series: &Series| series.sum("kv_forwarded_requests_total", &["op=\"write\""]);
    let (there, here) = (at(leader).await, at(follower).await);
    assert_eq!((puts(&here), timed(&here), forwarded(&here)), (1.0, 1.0, 0.0), "on the follower");
    assert_eq!((puts(&there), timed(&there), forwarded(&there)), (0.0, 0.0, 1.0), "on the leader");
}

/// Found: with its leader dead and no majority to elect another, a follower went on naming it in
/// `raft_leader_id` (openraft does, until another term begins), so that no alert on "no leader"
/// could fire. The other survivor-to-be, a leader without followers, went on with `raft_is_leader`
/// 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_gone_is_not_named() {
    let _place = beside_others();
    for survivor_leads in [false, true] {
        let mut cluster = Cluster::start(ClusterOptions::default()).await;
        let (leader, followers) = (cluster.leader().await, cluster.followers().await);
        let survivor = if survivor_leads { leader } else { followers[0] };
        for id in 1..=3 {
            if id != survivor {
                cluster.node_mut(id).kill();
            }
        }
        wait::until("no leader is shown", CHANGE_TIMEOUT, async || {
            let series = Series::parse(&metrics(cluster.node(survivor)).await);
            let values = ["raft_leader_id", "raft_is_leader", "raft_leader_silence_seconds"]
                .map(|name| series.sum(name, &[]));
            wait::is(values[0] == 0.0 && values[1] == 0.0 && values[2] > 0.0, || format!("{values:?}"))
        })
        .await;
    }
}

/// A node whose storage is damaged says `storage_faulted 1`, and still how much room its disk has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_storage_says_so() {
    let _place = beside_others();
    let mut cluster = busy_cluster().await;
    let id = cluster.followers().await[0];
    let text = metrics(cluster.node(id)).await;
    assert_eq!(Series::parse(&text).sum("storage_faulted", &[]), 0.0);
    assert!(cluster.node_mut(id).stop().await.success());
    std::fs::write(cluster.node(id).serve.data_dir.join("storage/log/MANIFEST"), "damaged").unwrap();
    cluster.node_mut(id).start();
    cluster.node_mut(id).up().await;
    let text = metrics(cluster.node(id)).await;
    let series = Series::parse(&text);
    assert_eq!(series.sum("storage_faulted", &[]), 1.0, "{text}");
    assert!(series.sum("storage_disk_size_bytes", &[]) > 0.0 && series.has("storage_disk_free_bytes", &[]));
}
