//! Attacks what people look at: a Prometheus scrapes a cluster under load, and every query of the
//! dashboard and every rule must find something. A panel without data, or an alert on a series that
//! no node writes, looks like health.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::dashboard::{panels, queries};
use crate::support::{Child, Prometheus, alone, built, get, is, output, repository, run, selectors, until};

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Rates need two scrapes, rules an evaluation after that, and a rule over other rules one more.
const DATA_TIMEOUT: Duration = Duration::from_secs(60);
const SCRAPE_SECONDS: u32 = 1;
/// Four scrapes are in it, as in Grafana.
const RATE_INTERVAL: &str = "10s";

#[test]
fn every_panel_and_every_rule_finds_data_in_a_cluster_under_load() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let cluster = Playground::start(dir.path());
    let (_server, prometheus) = start_prometheus(dir.path(), &cluster);
    let _load = cluster.load(dir.path());
    check_metrics(&cluster);
    for panel in panels() {
        for query in queries(&panel) {
            let query = filled_in(query);
            let title = &panel["title"];
            until(&format!("panel {title} shows data"), DATA_TIMEOUT, || {
                let series = prometheus.query(&query)?;
                is(series.iter().any(has_number), || format!("{query}: {series:?}"))
            });
        }
    }
    let rules = until("all rules have been evaluated", DATA_TIMEOUT, || {
        let rules = prometheus.rules()?;
        is(rules.iter().all(|rule| rule["health"] == "ok"), || format!("{rules:?}")).map(|()| rules)
    });
    check_rules(&prometheus, &rules);
    check_names(&prometheus, &rules);
    check_silence(&prometheus);
    check_what_they_say(&prometheus, cluster);
}

/// Everything that panels, rules and alerts ask for, and what Grafana lists for its variables, is
/// there by itself: a name or a label that is misspelt finds nothing, and what stands behind an
/// `or` would hide that.
fn check_names(prometheus: &Prometheus, rules: &[Value]) {
    let mut asked = BTreeSet::new();
    for panel in panels() {
        asked.extend(queries(&panel).into_iter().flat_map(|query| selectors(&filled_in(query))));
    }
    for rule in rules {
        asked.extend(selectors(rule["query"].as_str().unwrap()));
    }
    for (query, label) in variables() {
        let series = prometheus.query(&filled_in(&query)).unwrap();
        assert!(series.iter().any(|series| !series["metric"][&label].is_null()), "no {label} in {query}");
    }
    println!("{} selectors: {asked:#?}", asked.len());
    assert!(asked.len() >= 40, "{asked:?}");
    let is_there = |selector: &&String| !selector.contains(FAILURES) && !selector.contains(CERTIFICATES);
    for selector in asked.iter().filter(is_there) {
        let series = prometheus.query(selector).unwrap();
        assert!(!series.is_empty(), "{selector} finds nothing");
    }
    let failures = asked.iter().filter(|selector| selector.contains(FAILURES)).count();
    assert_eq!(failures, 1, "only one asks for failures, which are looked at once there are some");
    assert_eq!(prometheus.query("raft_leader_idd{job=\"kvnode\"}").unwrap().len(), 0);
}

/// What a cluster without TLS has none of. That a node with TLS shows it is looked at where its
/// `/metrics` is compared with the page.
const CERTIFICATES: &str = "tls_certificate_expiry_seconds";
/// What a cluster that works has none of.
const FAILURES: &str = "outcome!~";

/// `label_values(SELECTOR, LABEL)`
fn variables() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository("deploy/dashboards/kvnode.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let listed = dashboard["templating"]["list"].as_array().unwrap();
    let queries = listed.iter().filter_map(|variable| variable["query"]["query"].as_str());
    let inside =
        queries.filter_map(|query| query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", "));
    let variables: Vec<_> = inside.map(|(selector, label)| (selector.to_owned(), label.to_owned())).collect();
    assert_eq!(variables.len(), 2, "{listed:?}");
    variables
}

/// No alert has fired since Prometheus was started, and none waits to, but for those whose limits a
/// small machine under load may reach: how fast its disk is, and how full.
fn check_silence(prometheus: &Prometheus) {
    const OF_THE_MACHINE: &str = "KvSlowSyncs|KvSlowRequests|KvDiskNearlyFull";
    let fired =
        format!("count_over_time(ALERTS{{alertstate=\"firing\", alertname!~\"{OF_THE_MACHINE}\"}}[1h])");
    let fired = prometheus.query(&fired).unwrap();
    assert!(fired.is_empty(), "fired in a cluster that works: {fired:?}");
    until("no alert is pending", DATA_TIMEOUT, || {
        let pending = prometheus.query(&format!("ALERTS{{alertname!~\"{OF_THE_MACHINE}\"}}"))?;
        is(pending.is_empty(), || format!("{pending:?}"))
    });
}

/// One child process that runs three nodes.
struct Playground {
    child: Child,
    nodes: Vec<Node>,
}

struct Node {
    client: String,
    http: String,
    pid: String,
}

impl Playground {
    fn start(dir: &Path) -> Self {
        let mut kvnode = built("kvnode");
        kvnode.args(["playground", "--dir"]).arg(dir.join("playground"));
        let mut child = Child::start(&mut kvnode, &dir.join("playground.log"));
        let nodes = until("the playground is up", START_TIMEOUT, || {
            let printed = child.printed()?;
            let nodes: Vec<_> = printed.lines().filter_map(Node::parse).collect();
            is(nodes.len() == 3 && printed.contains("Ctrl-C"), || printed).map(|()| nodes)
        });
        Self { child, nodes }
    }

    fn kvcli(&self) -> Command {
        let endpoints: Vec<_> = self.nodes.iter().map(|node| node.client.clone()).collect();
        let mut kvcli = built("kvcli");
        kvcli.args(["--endpoints", &endpoints.join(",")]);
        kvcli
    }

    /// Puts and gets until it is dropped; a snapshot, a scan and a delete once.
    fn load(&self, dir: &Path) -> Child {
        let mut bench = self.kvcli();
        bench.args("bench mixed --clients 2 --key-space 100 --seconds 600".split(' '));
        let load = Child::start(&mut bench, &dir.join("bench.log"));
        for line in ["scan --prefix bench --limit 1", "delete bench", "get --stale bench"] {
            assert!(matches!(run(self.kvcli().args(line.split(' '))).code, Some(0 | 1)), "{line}");
        }
        load
    }
}

impl Node {
    /// `  1     leader    127.0.0.1:19855    http://127.0.0.1:18298/  18380`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, _, client, page, pid] = words[..] else { return None };
        let http = page.strip_prefix("http://")?.strip_suffix('/')?.to_owned();
        Some(Self { client: client.to_owned(), http, pid: pid.to_owned() })
    }
}

/// The configuration that is delivered, with other targets and no patience.
fn start_prometheus(dir: &Path, cluster: &Playground) -> (Child, Prometheus) {
    let config = dir.join("prometheus");
    std::fs::create_dir(&config).unwrap();
    for rules in ["rules.yml", "alerts.yml"] {
        std::fs::copy(repository("deploy/prometheus").join(rules), config.join(rules)).unwrap();
    }
    let delivered = std::fs::read_to_string(repository("deploy/prometheus/prometheus.yml")).unwrap();
    let targets: Vec<_> = cluster.nodes.iter().map(|node| format!("\"{}\"", node.http)).collect();
    let interval = format!("{SCRAPE_SECONDS}s");
    let mut text = delivered.clone();
    for (from, to) in [
        (r#""kvnode1:7201", "kvnode2:7201", "kvnode3:7201""#, targets.join(", ")),
        ("scrape_interval: 5s", format!("scrape_interval: {interval}")),
        ("scrape_timeout: 4s", format!("scrape_timeout: {interval}")),
        ("evaluation_interval: 15s", format!("evaluation_interval: {interval}")),
    ] {
        assert!(text.contains(from), "{from} is not in {delivered}");
        text = text.replace(from, &to);
    }
    std::fs::write(config.join("prometheus.yml"), text).unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
    command.arg("--web.listen-address=127.0.0.1:0");
    let mut server = Child::start(&mut command, &dir.join("prometheus.log"));
    let addr = until("Prometheus listens", START_TIMEOUT, || {
        let printed = server.printed()?;
        let addr = printed
            .split("msg=\"Listening on\" address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        addr.map(str::to_owned).ok_or(printed)
    });
    (server, Prometheus::at(&addr))
}

/// What Grafana would ask.
fn filled_in(query: &str) -> String {
    query.replace("$__rate_interval", RATE_INTERVAL).replace("$cluster", "kv").replace("$instance", ".+")
}

fn has_number(series: &Value) -> bool {
    series["value"][1].as_str().is_some_and(|text| text != "NaN")
}

/// Prometheus' own opinion of names, units and help texts.
fn check_metrics(cluster: &Playground) {
    for node in &cluster.nodes {
        let metrics = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(metrics.path(), get(&node.http, "/metrics").unwrap()).unwrap();
        let line = format!("promtool check metrics < {}", metrics.path().display());
        let checked = run(Command::new("sh").args(["-c", &line]));
        assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{}", checked.stdout);
    }
}

/// Every rule finds data, an alert's condition aside, and every alert says what it must.
fn check_rules(prometheus: &Prometheus, rules: &[Value]) {
    let runbook = std::fs::read_to_string(repository("docs/operations/alerts.md")).unwrap();
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        let query = without_condition(rule["query"].as_str().unwrap());
        if !query.contains(CERTIFICATES) {
            until(&format!("rule {name} finds data"), DATA_TIMEOUT, || {
                let series = prometheus.query(query)?;
                is(series.iter().any(has_number), || format!("{query}: {series:?}"))
            });
        }
        if rule["type"] == "alerting" {
            check_alert(rule, &runbook);
        }
    }
}

fn check_alert(alert: &Value, runbook: &str) {
    let name = alert["name"].as_str().unwrap();
    let annotation = |name: &str| alert["annotations"][name].as_str().unwrap_or_default();
    assert!(
        ["critical", "warning"].iter().any(|severity| alert["labels"]["severity"] == *severity),
        "{alert}"
    );
    assert!(!annotation("summary").is_empty() && !annotation("description").is_empty(), "{alert}");
    assert_eq!(annotation("runbook_url"), format!("docs/operations/alerts.md#{}", name.to_lowercase()));
    assert!(runbook.lines().any(|line| line == format!("## {name}")), "the runbook has no section {name}");
}

/// `a > 5` asks nothing in a healthy cluster; `a` must be there all the same.
fn without_condition(query: &str) -> &str {
    let condition = [" > ", " < ", " == "].iter().filter_map(|operator| query.rfind(operator)).max();
    let is_number =
        |at: usize| query[at..].split_whitespace().nth(1).is_some_and(|word| word.parse::<f64>().is_ok());
    match condition.filter(|at| is_number(*at)) {
        Some(at) => &query[..at],
        None => query,
    }
}

/// The panels of the overview tell the truth, before and after the leader is killed.
fn check_what_they_say(prometheus: &Prometheus, mut cluster: Playground) {
    let panel = |title: &str| {
        let panel = panels().into_iter().find(|panel| panel["title"] == title).unwrap();
        filled_in(queries(&panel)[0])
    };
    let leader = until("the overview shows three nodes and a leader", DATA_TIMEOUT, || {
        let shown = ["Leader", "Nodes up", "Nodes down"].map(|title| prometheus.number(&panel(title)));
        match shown {
            [Ok(leader @ 1.0..=3.0), Ok(3.0), Ok(0.0)] => Ok(leader),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(prometheus.number(&format!("sum({})", panel("Requests"))).unwrap() > 1.0);
    assert!(prometheus.query(&panel("Nodes")).unwrap().len() == 3);

    output(Command::new("kill").args(["-KILL", &cluster.nodes[leader as usize - 1].pid]));
    until("the overview shows another leader, and that a node is down", DATA_TIMEOUT, || {
        let (now, down) = (prometheus.number(&panel("Leader"))?, prometheus.number(&panel("Nodes down"))?);
        is(now != leader && now > 0.0 && down == 1.0, || format!("leader {now}, {down} down"))
    });
    let nodes = prometheus.query(&panel("Nodes")).unwrap();
    assert_eq!(nodes.len(), 3, "a node has two lines, or none: {nodes:?}");
    until("KvMemberDown is pending", DATA_TIMEOUT, || {
        let alerts = prometheus.query("ALERTS{alertname=\"KvMemberDown\"}")?;
        is(alerts.len() == 1, || format!("{alerts:?}"))
    });

    // Without a majority no node answers, and that is a failure of the cluster.
    let second = (0..3).find(|n| *n != leader as usize - 1).unwrap();
    output(Command::new("kill").args(["-KILL", &cluster.nodes[second].pid]));
    until("the overview shows that requests fail", DATA_TIMEOUT, || {
        run(cluster.kvcli().args("--timeout 1s put key value".split(' ')));
        let failed = prometheus.number(&panel("Failed requests"))?;
        let query = panel("Failed requests");
        let asked = selectors(&query).into_iter().find(|selector| selector.contains(FAILURES)).unwrap();
        let series = prometheus.query(&asked)?;
        is(failed > 0.0 && !series.is_empty(), || format!("{failed}; {series:?}"))
    });
    cluster.child.printed().unwrap();
}

#[test]
fn conditions_are_told_from_what_they_are_about() {
    assert_eq!(without_condition("a{b=\"c\"} == 0"), "a{b=\"c\"}");
    assert_eq!(without_condition("a - b > 0"), "a - b");
    assert_eq!(without_condition("1 - a"), "1 - a");
    assert_eq!(without_condition("a == b"), "a == b");
}
