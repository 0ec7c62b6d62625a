//! Attacks `kvnode recover` as the runbook has it: an entry of the survivor that is lost, a loss
//! that was not said, an old member that gets in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvcli::{Client, ClientOptions};
use proto::kv::v1::{GetRequest, PutRequest};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::restore::{AHEAD, follow, lines, names};
use crate::support::{
    Cluster, ClusterOptions, Dice, Kvcli, State, beside_others, cluster_of, free_ports, run_to_end, signal,
    wait,
};

const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
const RUN_TIMEOUT: Duration = Duration::from_secs(60);
const WRITERS: usize = 4;
/// Acknowledged while the survivor is there, and while it is frozen.
const WRITES: usize = 150;

/// Writes keys of its own, one after the other; what was acknowledged, by revision.
async fn write(client: Client, writer: usize, stop: Arc<AtomicBool>) -> BTreeMap<u64, String> {
    let mut acked = BTreeMap::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{writer}/{n:06}");
        match client.put(key.clone(), key.clone()).await {
            Ok(answer) => drop(acked.insert(answer.header.unwrap().revision, key)),
            // The majority is killed under it.
            Err(_) => break,
        }
    }
    acked
}

async fn revision(cluster: &Cluster, id: u64) -> u64 {
    let answer = cluster.node(id).kv().get(GetRequest { key: "0/000000".into(), stale: true }).await;
    answer.map_or(0, |answer| answer.into_inner().header.map_or(0, |header| header.revision))
}

/// Three nodes under load. The survivor is frozen while the others go on, so that something must be
/// lost; then the others are killed, and the directory of one is gone. The survivor says up to
/// which entry it has everything; recovered, it has exactly the writes that were acknowledged up to
/// there, and none behind. Two new nodes join; the other old node, with its directory, is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_runbook_recover_a_lost_majority() {
    let _place = beside_others();
    let page = include_str!("../../../docs/operations/recovery.md");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    wait::until("another node than 1 leads", PROGRESS_TIMEOUT, async || {
        if cluster.leader().await == 2 {
            return Ok(());
        }
        Err(format!("{:?}", cluster.client().transfer_leader(2).await.err()))
    })
    .await;
    let old_cluster = cluster_of(cluster.node(1));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    let client = Client::connect(cluster.endpoints(), ClientOptions::default()).unwrap();
    for writer in 0..WRITERS {
        writers.spawn(write(client.clone(), writer, stop.clone()));
    }
    let reached = async |cluster: &Cluster, id, at_least| {
        wait::until("writes go on", PROGRESS_TIMEOUT, async || {
            let revision = revision(cluster, id).await;
            wait::is(revision >= at_least, || format!("revision {revision}"))
        })
        .await;
    };
    reached(&cluster, 1, WRITES as u64).await;
    signal(cluster.node(1).pid(), Signal::STOP);
    let at_freeze = revision(&cluster, 2).await;
    reached(&cluster, 2, at_freeze + WRITES as u64).await;
    [2, 3].into_iter().for_each(|id| cluster.node_mut(id).kill());
    cluster.node_mut(1).kill();
    stop.store(true, Ordering::Relaxed);
    let mut acked = BTreeMap::new();
    while let Some(ended) = writers.join_next().await {
        acked.extend(ended.unwrap());
    }
    std::fs::remove_dir_all(&cluster.node(3).serve.data_dir).unwrap();

    for ports in free_ports(2) {
        cluster.push(cluster.nodes.len() as u64 + 1, ports, String::new());
    }
    let real: Vec<_> = cluster.nodes.iter().flat_map(names).collect();
    let endpoints = cluster.node(1).client_addr();
    let (mut said, mut recovered) = (None::<String>, false);
    for (starts, line) in lines(page, "recover", &real) {
        let accepts = line.contains("--accept-loss-after");
        let line = match &said {
            Some(point) if accepts => line.replace("3.1.10450", point),
            _ => line,
        };
        let ended = follow(&mut cluster, &(starts, line.clone()), &endpoints).await;
        if line.starts_with("kvnode recover") && !accepts {
            assert_eq!(ended.code, Some(3), "{line}: {ended:#?}");
            let point = ended.stderr.rsplit("--accept-loss-after ").next().unwrap().trim().to_owned();
            assert!(ended.stdout.contains(&format!("last log entry   {point}\n")), "{ended:#?}");
            assert!(ended.stdout.contains("other members    2, 3"), "{ended:#?}");
            wrong_points_are_refused(&cluster, &point).await;
            said = Some(point);
            continue;
        }
        assert_eq!(ended.code, Some(0), "{line}: {ended:#?}");
        recovered |= accepts;
    }
    assert!(recovered, "the page has no command that accepts the loss");

    let state = cluster.same_state().await;
    let kept = state.pairs.iter().map(|pair| pair.mod_revision).max().unwrap();
    let (mut there, mut lost) = (0, 0);
    for (revision, key) in &acked {
        let found = state.get(key.as_bytes()).map(|pair| pair.mod_revision);
        if *revision <= kept {
            assert_eq!(found, Some(*revision), "{key} was acknowledged and had reached the survivor");
            there += 1;
        } else {
            assert_eq!(found, None, "{key} came later");
            lost += 1;
        }
    }
    println!("{there} acknowledged writes are there, {lost} are lost, as was said");
    assert!(there >= WRITES / 2 && lost >= WRITES / 2, "{there} {lost}");
    let put = PutRequest { key: "next".into(), ..PutRequest::default() };
    let next = cluster.node(1).kv().put(put).await.unwrap().into_inner().header.unwrap().revision;
    assert_eq!(next, kept + AHEAD + 1);
    assert_ne!(cluster_of(cluster.node(1)), old_cluster);

    the_old_member_is_refused(&mut cluster).await;
}

/// A recovery is killed at random moments: each time no node starts on the directory, unless it was
/// complete; then the same command makes the cluster, with all that the node had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_was_killed_is_finished_by_the_next() {
    const KILLS: usize = 12;
    let _place = beside_others();
    let mut dice = Dice::new("killed recoveries");
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    for n in 0..200 {
        cluster.client().put(format!("key {n}"), dice.bytes(32 * 1024)).await.unwrap();
    }
    let before = State::of(cluster.node(1)).await;
    let old_cluster = cluster_of(cluster.node(1));
    cluster.node_mut(1).kill();
    let data_dir = cluster.node(1).serve.data_dir.clone();
    let recover = |point: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvnode"));
        command.arg("recover").arg("--data-dir").arg(&data_dir);
        command.args(point.map(|point| ["--accept-loss-after", point]).into_iter().flatten());
        command
    };
    let asked = run_to_end(recover(None), RUN_TIMEOUT).await;
    let point = asked.stderr.rsplit("--accept-loss-after ").next().unwrap().trim().to_owned();
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut command = recover(Some(&point));
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(dice.below(400) as u64)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        if data_dir.join("REBUILDING").exists() {
            killed += 1;
            let refused = run_to_end(cluster.node(1).serve.command(), RUN_TIMEOUT).await;
            let says_so = refused.stderr.contains("run the same command again");
            assert!(refused.code == Some(3) && says_so, "{refused:#?}");
        }
        if cluster_of(cluster.node(1)) != old_cluster {
            break;
        }
    }
    println!("{killed} recoveries were killed on their way");
    if cluster_of(cluster.node(1)) == old_cluster || data_dir.join("REBUILDING").exists() {
        let ended = run_to_end(recover(Some(&point)), RUN_TIMEOUT).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
    assert_ne!(cluster_of(cluster.node(1)), old_cluster);
    cluster.node_mut(1).start();
    cluster.node_mut(1).up().await;
    cluster.leader().await;
    before.assert_same(&State::of(cluster.node(1)).await);
}

/// Nothing is changed by them.
async fn wrong_points_are_refused(cluster: &Cluster, point: &str) {
    for wrong in ["1.1.1".to_owned(), format!("{point}0")] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvnode"));
        command.arg("recover").arg("--data-dir").arg(&cluster.node(1).serve.data_dir);
        command.args(["--accept-loss-after", &wrong]);
        let ended = run_to_end(command, RUN_TIMEOUT).await;
        assert!(ended.code == Some(3) && ended.stderr.contains(point), "{ended:#?}");
    }
    assert!(!cluster.node(1).serve.data_dir.join("REBUILDING").exists());
}

/// Node 2 comes back with what it had.
async fn the_old_member_is_refused(cluster: &mut Cluster) {
    let before = State::of(cluster.node(1)).await;
    cluster.node_mut(2).start();
    cluster.node_mut(2).up().await;
    let kvcli = Kvcli::new(&[cluster.node(1).client_addr()]);
    let ports = cluster.node(2).ports();
    let ended =
        kvcli.run(&format!("cluster add-learner 2 {} {}", ports.raft_addr(), ports.client_addr())).await;
    assert!(ended.code == Some(4) && ended.stderr.contains("belongs to"), "{ended:#?}");
    let status = cluster.node(2).status().await.unwrap();
    assert_ne!(status.header.unwrap().leader_id, 2);
    cluster.node_mut(2).kill();
    kvcli.all_is_well().await;
    State::of(cluster.node(1)).await.assert_same(&before);
}
