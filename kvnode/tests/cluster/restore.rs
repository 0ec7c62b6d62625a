//! Attacks `kvnode restore` as the page on backups has it: a pair that is lost or changed, a
//! revision that is seen twice, a write that is applied twice, a restore that was killed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use kvcli::ReadMode;
use proto::kv::v1::{PutRequest, RequestId};

use super::backup::{save, shown};
use crate::support::document::{blocks, commands, shell};
use crate::support::{
    Cluster, ClusterOptions, Dice, Ended, Kvcli, Load, LoadOptions, Node, Ports, State, beside_others,
    cluster_of, free_ports, run_to_end, wait,
};

const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
const RUN_TIMEOUT: Duration = Duration::from_secs(60);
pub const AHEAD: u64 = 1 << 30;
const KILLS: usize = 12;

/// The commands of a scenario of a page, in order: whether each starts a node, and the line with
/// the real directories and addresses.
pub fn lines(page: &str, scenario: &str, real: &[(String, String)]) -> Vec<(bool, String)> {
    let (run, background) = (format!("sh {scenario}"), format!("sh {scenario} background"));
    let marked = blocks(page).into_iter().filter(|(mark, _)| *mark == run || *mark == background);
    let lines = marked.flat_map(|(mark, text)| {
        commands(text).into_iter().map(move |line| (mark.ends_with("background"), line))
    });
    let here = |line: String| real.iter().fold(line, |line, (from, to)| line.replace(from, to));
    let lines: Vec<_> = lines.map(|(starts, line)| (starts, here(line))).collect();
    assert!(!lines.is_empty(), "the page has no scenario {scenario}");
    lines
}

/// What the pages call a node, and what it is.
pub fn names(node: &Node) -> Vec<(String, String)> {
    let (id, ports) = (node.id(), node.ports());
    [(7000, ports.client_addr()), (7100, ports.raft_addr()), (7200, ports.http_addr())]
        .map(|(base, real)| (format!("127.0.0.1:{}", base + id), real))
        .into_iter()
        .chain([(format!(" data/{id}"), format!(" {}", shown(&node.serve.data_dir)))])
        .collect()
}

/// Runs a line of a page; one that starts a node leaves it running.
pub async fn follow(cluster: &mut Cluster, (starts, line): &(bool, String), endpoints: &str) -> Ended {
    let mut command = shell(line, cluster.path());
    if *starts {
        let id = line.split_once("--id ").unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
        let node = cluster.node_mut(id);
        node.start_as(&mut command);
        node.up().await;
        return Ended { code: Some(0), stdout: String::new(), stderr: String::new() };
    }
    command.env("KVCLI_ENDPOINTS", endpoints);
    run_to_end(command, RUN_TIMEOUT).await
}

fn restore(backup: &Path, data_dir: &Path, ports: Ports) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvnode"));
    command.arg("restore").arg("--from").arg(backup).arg("--data-dir").arg(data_dir).args(["--id", "4"]);
    command.args(["--raft-addr", &ports.raft_addr(), "--client-addr", &ports.client_addr()]);
    command
}

fn put_as(client: u8, sequence: u64, value: &str) -> PutRequest {
    let id = RequestId { client_id: vec![client; 16].into(), sequence };
    PutRequest {
        key: "once".into(),
        value: Bytes::from(value.to_owned()),
        request_id: Some(id),
        ..PutRequest::default()
    }
}

/// As the page says it, of a cluster under load. The restored pairs are those of the old cluster to
/// the byte, revisions included; the next revision is one that no client has seen; a write that is
/// repeated is applied once, also over the restore; and two nodes join.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_make_a_cluster_of_a_backup() {
    let _place = beside_others();
    let page = include_str!("../../../docs/operations/backup.md");
    let mut dice = Dice::new("restore");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let options = LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client(), options, &mut dice);
    load.progress(200, PROGRESS_TIMEOUT).await;
    let before = cluster.path().join("during.backup");
    save(&cluster.node(cluster.followers().await[0]).client_addr(), &before).await;
    let ledger = load.stop().await;
    cluster.client().put("greeting", "hello").await.unwrap();
    let leader = cluster.leader().await;
    let first = cluster.node(leader).kv().put(put_as(9, 1, "first")).await.unwrap().into_inner();
    let state = cluster.same_state().await;
    ledger.assert_kept(&state);

    cluster.push(4, free_ports(1)[0], String::new());
    let real: Vec<_> = cluster.nodes.iter().flat_map(names).collect();
    let endpoints = cluster.endpoints()[..3].join(",");
    for line in lines(page, "backup", &real) {
        let ended = follow(&mut cluster, &line, &endpoints).await;
        assert_eq!(ended.code, Some(0), "{line:?}: {ended:#?}");
    }
    // What the backup lacks.
    let lost = cluster.node(leader).kv().put(put_as(8, 1, "lost")).await.unwrap().into_inner();
    let old_cluster = cluster_of(cluster.node(1));
    [1, 2, 3].into_iter().for_each(|id| cluster.node_mut(id).kill());
    for line in lines(page, "restore", &real) {
        let ended = follow(&mut cluster, &line, &endpoints).await;
        assert_eq!(ended.code, Some(0), "{line:?}: {ended:#?}");
        if line.1.contains(" get ") {
            assert_eq!(ended.stdout, "hello\n");
        }
    }
    assert_ne!(cluster_of(cluster.node(4)), old_cluster);
    let restored = State::of(cluster.node(4)).await;
    state.assert_same(&restored);

    let mut kv = cluster.node(4).kv();
    let again = kv.put(put_as(9, 1, "first")).await.unwrap().into_inner();
    assert_eq!(again.header.unwrap().revision, first.header.unwrap().revision, "applied twice");
    let late = kv.put(put_as(8, 1, "late")).await.unwrap().into_inner().header.unwrap().revision;
    let highest = lost.header.unwrap().revision;
    assert!(late > highest + AHEAD / 2, "{late} after {highest}");
    assert_eq!(late, AHEAD + highest, "one more than what the backup has, and ahead");

    let new: Vec<(u64, Ports)> = (5..).zip(free_ports(2)).collect();
    let kvcli = Kvcli::new(&[cluster.node(4).client_addr()]);
    for (id, ports) in new {
        cluster.push(id, ports, String::new());
        cluster.node_mut(id).start();
        cluster.node_mut(id).up().await;
        kvcli.ok(&format!("cluster add-learner {id} {} {}", ports.raft_addr(), ports.client_addr())).await;
        kvcli.ok(&format!("cluster promote {id}")).await;
    }
    cluster.node_mut(4).kill();
    let client = kvcli::Client::connect([cluster.node(5).client_addr()], kvcli::ClientOptions::default());
    let client = client.unwrap().with_timeout(PROGRESS_TIMEOUT);
    assert_eq!(client.get("once", ReadMode::Linearizable).await.unwrap().pair.unwrap().value, "late");
    cluster.node_mut(4).start();
    cluster.node_mut(4).up().await;
    kvcli.all_is_well().await;
    assert_eq!(cluster.same_state().await.pairs.len(), state.pairs.len());
}

/// A restore is killed at a random moment, a dozen times: each time no node starts on the
/// directory, unless it was complete; then the same command makes the cluster. Its directory is
/// well by `kvnode check`, and no other may be given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_was_killed_is_finished_by_the_next() {
    let _place = beside_others();
    let mut dice = Dice::new("killed restores");
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let client = cluster.client();
    for n in 0..200 {
        client.put(format!("key {n}"), dice.bytes(32 * 1024)).await.unwrap();
    }
    let backup = cluster.path().join("a.backup");
    save(&cluster.node(1).client_addr(), &backup).await;
    let state = State::of(cluster.node(1)).await;
    cluster.kill_all();
    cluster.push(4, free_ports(1)[0], String::new());
    let (data_dir, ports) = (cluster.node(4).serve.data_dir.clone(), cluster.node(4).ports());
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut child =
            restore(&backup, &data_dir, ports).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(dice.below(400) as u64));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if ended.is_some() || !data_dir.join("REBUILDING").exists() {
            continue;
        }
        killed += 1;
        let refused = run_to_end(cluster.node(4).serve.command(), RUN_TIMEOUT).await;
        assert!(
            refused.code == Some(3) && refused.stderr.contains("run the same command again"),
            "{refused:#?}"
        );
        if dice.below(2) == 0 && killed > 2 {
            break;
        }
    }
    println!("{killed} restores were killed on their way");
    if !data_dir.join("IDENTITY").exists() || data_dir.join("REBUILDING").exists() {
        let ended = run_to_end(restore(&backup, &data_dir, ports), RUN_TIMEOUT).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
    let refused = run_to_end(restore(&backup, &data_dir, ports), RUN_TIMEOUT).await;
    assert!(refused.code == Some(3) && refused.stderr.contains("is not empty"), "{refused:#?}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_kvnode"));
    check.arg("check").arg("--data-dir").arg(&data_dir);
    let checked = run_to_end(check, RUN_TIMEOUT).await;
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    let node = cluster.node_mut(4);
    node.start();
    node.up().await;
    wait::until("the restored node leads", PROGRESS_TIMEOUT, async || {
        let status = cluster.node(4).status().await?;
        wait::is(status.header.is_some_and(|header| header.leader_id == 4), String::new)
    })
    .await;
    state.assert_same(&State::of(cluster.node(4)).await);
    // And once more from there: what was restored can be restored.
    let again = cluster.path().join("again.backup");
    let saved = save(&cluster.node(4).client_addr(), &again).await;
    assert_eq!(saved["revision"], 200 + AHEAD);
}
