//! Attacks the status page in a real browser, and what it is made of over HTTP: load, a leader that
//! is killed, members that are gone, lag or hang, a failed storage. How it looks: `page_looks`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::status_page::{SHOW_TIMEOUT, assert_quiet, open, shows, url};
use crate::support::{
    Cluster, ClusterOptions, Dice, Kvcli, Load, LoadOptions, Series, alone, files, signal, wait,
};
use proto::kv::v1 as kv;
use proto::node::v1 as pb;

/// Two samples of 5 s, and a look at them.
const MOVE_TIMEOUT: Duration = Duration::from_secs(30);
/// From the kill to the new leader on the page.
const NEW_LEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// A member that hangs costs a page no more than this.
const HANG_TIMEOUT: Duration = Duration::from_secs(5);

/// The page of a follower: names the leader, shows rates that move under load, and soon after
/// `kill -9` of the leader shows the new one and that the old one is gone; the same nodes of the
/// document all along, and an empty console.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_move_and_a_killed_leader_is_replaced_on_the_page() {
    let _alone = alone();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let (leader, follower) = (cluster.leader().await, cluster.followers().await[0]);
    let browser = open(&cluster, follower).await;
    shows(&browser, "#headline", &["Healthy", &format!("node {leader} leads")], SHOW_TIMEOUT).await;
    browser.run("document.querySelectorAll('tr, figure, svg').forEach((e) => { e.marked = true; });");

    let mut dice = Dice::unseeded();
    let options = LoadOptions { writers: 4, readers: 2, ..LoadOptions::default() };
    let load = Load::start(&cluster.client(), options, &mut dice);
    wait::until("rates and latencies move", MOVE_TIMEOUT, async || {
        let told = charts(&browser);
        let moves = |title: &str, part: &str| {
            told.iter().any(|text| {
                text.starts_with(title) && text.contains(part) && !text.contains("nothing measured")
            })
        };
        let all = ["Write latency", "Read latency"].iter().all(|title| moves(title, "ms"))
            && moves("Log sync", "node 3")
            && moves("Apply", "node 1");
        let rates = told.iter().find(|text| text.starts_with("Requests")).is_some_and(|text| {
            !text.contains("write: 0") && ["write", "read"].iter().all(|op| highest(text, op) > 0.0)
        });
        wait::is(all && rates, || format!("{told:#?}"))
    })
    .await;

    let killed = Instant::now();
    cluster.node_mut(leader).kill();
    let told = wait::until("another leader is shown", NEW_LEADER_TIMEOUT, async || {
        let told = browser.text("#headline");
        let other = told.contains("leads") && !told.contains(&format!("ode {leader} leads"));
        wait::is(other && told.contains(&format!("node {leader} cannot be reached")), || told.clone())
            .map(|()| told)
    })
    .await;
    println!("{:.1?} after the kill: {told}", killed.elapsed());
    shows(&browser, "#rows", &["✕\u{a0}cannot be reached"], SHOW_TIMEOUT).await;
    shows(&browser, "#events", &["leads, term", "election"], SHOW_TIMEOUT).await;
    load.stop().await;

    let unmarked = "return [...document.querySelectorAll('tbody tr, figure, figure > svg')].filter((e) => !e.marked).length;";
    assert_eq!(browser.run(unmarked), 0, "parts of the page were made anew");
    assert_quiet(&browser);
}

/// At a glance: who leads and since when, each member's positions in the log and sizes on disk as
/// it tells them itself, a snapshot and a change of membership among the events; and when the
/// page's own node is gone, the page says that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_sizes_and_events_are_shown_and_a_lost_node_is_said() {
    let _alone = alone();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let (leader, followers) = (cluster.leader().await, cluster.followers().await);
    let (own, leaving) = (followers[0], followers[1]);
    for n in 0..20 {
        cluster.client().put(format!("key {n}"), "value").await.unwrap();
    }
    cluster.settled().await;
    wait::until("a snapshot is built", SHOW_TIMEOUT, async || {
        let built = cluster.node(leader).admin().snapshot(pb::SnapshotRequest {}).await;
        built.map(drop).map_err(|e| e.to_string())
    })
    .await;
    let browser = open(&cluster, own).await;
    let term = cluster.node(leader).status().await.unwrap().term;
    shows(&browser, "#since", &[&format!("Term {term}, since")], SHOW_TIMEOUT).await;
    wait::until("every row has what its node says", SHOW_TIMEOUT, async || {
        let rows = browser.run(ROWS);
        for (row, status) in rows.as_array().unwrap().iter().zip(cluster.statuses().await?) {
            let sizes = row[5].as_str().unwrap_or_default();
            let role = if status.node_id == leader { "★\u{a0}leader" } else { "follower" };
            let positions = [2, 3, 4].map(|n| row[n].as_str().and_then(|text| text.parse::<u64>().ok()));
            let told = [status.last_log_index, status.committed_index, status.applied_index];
            let good = (&row[0], &row[1]) == (&role.into(), &"0".into())
                && positions == told.map(Some)
                && sizes.split(PER).filter(|size| size.ends_with('B')).count() == 3
                // A snapshot that was built is the state on disk; what is beside it is nothing, as
                // long as none is sent.
                && (status.node_id != leader || sizes.split(PER).nth(1) != Some("0\u{a0}B"));
            wait::is(good, || format!("{rows} but {status:?}"))?;
        }
        Ok(())
    })
    .await;
    shows(&browser, "#events", &["snapshot", &format!("seen by node {leader}")], SHOW_TIMEOUT).await;
    assert_lag_is_shown(&cluster, &browser, leader, leaving).await;
    Kvcli::new(&cluster.endpoints()).ok(&format!("cluster remove {leaving}")).await;
    let (low, high) = (leader.min(own), leader.max(own));
    shows(&browser, "#events", &["membership", &format!("voters {low}, {high};")], SHOW_TIMEOUT).await;
    wait::until("the row of the node that left is gone", SHOW_TIMEOUT, async || {
        let rows = browser.run(ROWS);
        wait::is(rows.as_array().is_some_and(|rows| rows.len() == 2), || rows.to_string())
    })
    .await;
    assert_quiet(&browser);
    cluster.node_mut(own).kill();
    shows(&browser, "#headline", &["has lost its node"], SHOW_TIMEOUT).await;
}

/// Between two sizes.
const PER: &str = "\u{a0}/ ";
/// Of each member: role, lag, end of the log, committed, applied, sizes.
const ROWS: &str = "return [...document.querySelectorAll('#rows tr')].map((row) => [2, 3, 4, 5, 6, 10].map((n) => row.cells[n].textContent));";

/// A follower that stands still lags by what is written meanwhile, to the entry, and its role is
/// what the membership says; once it runs again it follows, and lags by nothing.
async fn assert_lag_is_shown(cluster: &Cluster, browser: &Browser, leader: u64, paused: u64) {
    const ENTRIES: u64 = 30;
    let shown = || browser.run(ROWS)[paused as usize - 1].clone();
    signal(cluster.node(paused).pid(), Signal::STOP);
    for n in 0..ENTRIES {
        cluster.node(leader).kv().put(put(format!("key {n}"))).await.unwrap();
    }
    wait::until("the lag of a member that stands still is shown", SHOW_TIMEOUT, async || {
        let status = cluster.node(leader).status().await?;
        let known = status.replication.iter().find(|replication| replication.id == paused);
        let lag = status.last_log_index - known.map_or(0, |replication| replication.matched_index);
        let row = shown();
        let good = lag >= ENTRIES && row[1].as_str() == Some(&*lag.to_string()) && row[0] == "voter";
        wait::is(good, || format!("{row}, and it lags by {lag}"))
    })
    .await;
    signal(cluster.node(paused).pid(), Signal::CONT);
    wait::until("it follows again", SHOW_TIMEOUT, async || {
        let row = shown();
        wait::is(row[1] == "0" && row[0] == "follower", || row.to_string())
    })
    .await;
}

fn put(key: String) -> kv::PutRequest {
    kv::PutRequest { key: key.into(), value: "value".into(), ..kv::PutRequest::default() }
}

/// A fault that a node comes upon while it runs is among the events of every page, with its file
/// and who saw it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_a_running_node_is_an_event() {
    const KEYS: usize = 50;
    let _alone = alone();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let damaged = cluster.followers().await[0];
    for n in 0..KEYS {
        cluster.client().put(format!("key {n}"), vec![b'x'; 4096]).await.unwrap();
    }
    cluster.settled().await;
    // Nothing is in memory after this, and everything in tables.
    cluster.node_mut(damaged).restart().await;
    let leader = cluster.leader().await;
    let browser = open(&cluster, leader).await;
    shows(&browser, "#headline", &["Healthy"], SHOW_TIMEOUT).await;
    assert_eq!(browser.run("return document.querySelectorAll('#events .fault').length;"), 0);
    for table in files(&cluster.node(damaged).serve.data_dir, "storage/state/table-*/*.ldb") {
        // In place: the node has it open.
        let bytes: Vec<u8> = std::fs::read(&table).unwrap().iter().map(|byte| !byte).collect();
        std::fs::OpenOptions::new().write(true).open(&table).unwrap().write_all(&bytes).unwrap();
    }
    let request = kv::GetRequest { key: "key 7".into(), stale: true };
    cluster.node(damaged).kv().get(request).await.unwrap_err();
    let seen_by = format!("seen by node {damaged}");
    shows(&browser, "#events li:has(.fault)", &["✕ fault", ".ldb", &seen_by], SHOW_TIMEOUT).await;
    shows(&browser, "#headline", &[&format!("node {damaged} has failed")], SHOW_TIMEOUT).await;
    assert_quiet(&browser);
}

/// An answer that the page cannot draw (a date that no browser has): it says so, and goes on once
/// there is a better one.
///
/// Found: the exception ended the loop that asks, and the page showed the last good answer for
/// ever, as if nothing happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_cannot_draw_an_answer_says_so_and_goes_on() {
    const BAD_EVENT: &str = "const real = window.fetch; window.good = () => { window.fetch = real; };
        window.fetch = async (path, options) => {
            const answer = await real(path, options);
            if (path !== '/api/cluster') return answer;
            const view = await answer.json();
            view.events = [{ at_unix_ms: 1e300, kind: 'node', text: 'never', nodes: [1] }];
            return new Response(JSON.stringify(view));
        };";
    let _alone = alone();
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let browser = open(&cluster, 1).await;
    shows(&browser, "#headline", &["Healthy"], SHOW_TIMEOUT).await;
    browser.run(BAD_EVENT);
    shows(&browser, "#headline", &["can't show all"], SHOW_TIMEOUT).await;
    browser.run("window.good();");
    shows(&browser, "#headline", &["Healthy"], SHOW_TIMEOUT).await;
}

/// What the chart of rates tells: `… put: 12.5/s, highest 1,234/s. get: …`
fn highest(told: &str, op: &str) -> f64 {
    let after = told.split_once(&format!("{op}: ")).and_then(|(_, rest)| rest.split_once("highest "));
    let number = after.and_then(|(_, rest)| rest.split_once("/s")).map(|(number, _)| number.replace(',', ""));
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn charts(browser: &Browser) -> Vec<String> {
    let labels = "return [...document.querySelectorAll('figure > svg[role=img]')].map((e) => e.getAttribute('aria-label') || '');";
    let told = browser.run(labels);
    told.as_array().expect("a list").iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

/// A node whose storage is damaged shows the page too, names the file, and shows the others; they
/// show its fault. Without a majority the page says that there is no leader. All that is shown is
/// text: the cluster's name is a piece of HTML here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_is_loud_on_every_page_and_no_leader_is_said() {
    let _alone = alone();
    const NAME: &str = "<img src=x onerror=alert(1)>";
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    cluster.nodes.iter_mut().for_each(|node| node.serve.cluster_name = NAME.to_owned());
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    let (leader, damaged) = (cluster.leader().await, cluster.followers().await[0]);
    assert!(cluster.node_mut(damaged).stop().await.success());
    std::fs::write(cluster.node(damaged).serve.data_dir.join("storage/log/MANIFEST"), "damaged").unwrap();
    cluster.node_mut(damaged).start();
    cluster.node_mut(damaged).up().await;

    let browser = open(&cluster, damaged).await;
    let own = format!("Node {damaged} serves nothing");
    let says = format!("Node {leader} leads, but the storage or consensus of node {damaged} has failed");
    for page in [damaged, leader] {
        browser.open(&url(cluster.node(page)));
        shows(&browser, "#faults", &[&own, "log/MANIFEST"], SHOW_TIMEOUT).await;
        shows(&browser, "#headline", &[&says], SHOW_TIMEOUT).await;
        assert_eq!(browser.text("#cluster"), NAME);
    }
    let other = (1..=3).find(|id| *id != damaged && *id != leader).unwrap();
    cluster.node_mut(other).kill();
    shows(&browser, "#headline", &["No leader: writes", "cannot be reached"], SHOW_TIMEOUT).await;
    assert_eq!(browser.run("return document.images.length;"), 0);
    assert_quiet(&browser);
}

/// Over HTTP: a member that hangs (SIGSTOP) is shown as one that cannot be reached, within its
/// deadline; and a hundred pages that ask at once, again and again, cost a member about one
/// question per second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_member_blocks_no_page_and_many_pages_cost_one_question() {
    let _alone = alone();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let (leader, followers) = (cluster.leader().await, cluster.followers().await);
    let asked = cluster.node(followers[0]);
    let reports = async || {
        let (_, text) = cluster.node(leader).http("/metrics").await.unwrap();
        Series::parse(&text).sum("kv_requests_total", &["op=\"report\""])
    };
    let (before, started) = (reports().await, Instant::now());
    for _ in 0..10 {
        let pages = (0..100).map(|_| asked.http("/api/cluster"));
        assert!(join_all(pages).await.into_iter().all(|answer| answer.is_ok_and(|(code, _)| code == 200)));
    }
    let (cost, seconds) = (reports().await - before, started.elapsed().as_secs_f64());
    assert!(cost >= 1.0 && cost <= seconds / 0.9 + 2.0, "{cost} questions in {seconds:.1} s");

    let hanging = cluster.node(followers[1]);
    signal(hanging.pid(), Signal::STOP);
    wait::until("the hanging member is shown", SHOW_TIMEOUT, async || {
        let asked_at = Instant::now();
        let (_, text) = asked.http("/api/cluster").await?;
        assert!(asked_at.elapsed() < HANG_TIMEOUT, "the answer took {:?}", asked_at.elapsed());
        let document: Value = serde_json::from_str(&text).unwrap();
        let member =
            document["members"].as_array().unwrap().iter().find(|m| m["id"] == hanging.id()).unwrap();
        assert_eq!(document["leader"]["id"], leader);
        wait::is(member["reachable"] == false && member["unreachable_because"].is_string(), || text.clone())
    })
    .await;
    signal(hanging.pid(), Signal::CONT);
}
