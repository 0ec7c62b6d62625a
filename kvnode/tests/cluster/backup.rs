//! Attacks backups: one that lacks what was acknowledged before it, through whichever node; a file
//! that is not whole under its name; damage that is not noticed.

use std::path::Path;
use std::time::Duration;

use kvcli::{Client, ClientOptions};
use proto::backup::BackupReader;
use proto::node::v1 as pb;
use proto::node::v1::backups_client::BackupsClient;
use rustix::process::Signal;
use serde_json::Value;
use tonic::Code;

use crate::support::{Cluster, ClusterOptions, Dice, Kvcli, Load, LoadOptions, beside_others, signal, wait};

const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
const DAMAGES: usize = 60;

pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Saves a backup through one node; answers what kvcli says of it.
pub async fn save(node: &str, path: &Path) -> Value {
    Kvcli::new(&[node.to_owned()]).json(&format!("backup save {}", shown(path))).await
}

/// Under load, through each node in turn: a backup has what the node that leads has acknowledged
/// just before to another client. A follower that took its own state for the newest would fail
/// here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_through_any_node_has_what_was_acknowledged() {
    let _place = beside_others();
    let mut dice = Dice::new("backups through any node");
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let options = LoadOptions { writers: 4, readers: 1, ..LoadOptions::default() };
    let mut load = Load::start(&cluster.client(), options, &mut dice);
    load.progress(100, PROGRESS_TIMEOUT).await;
    let leader = cluster.leader().await;
    let writer = Client::connect([cluster.node(leader).client_addr()], ClientOptions::default()).unwrap();
    for node in &cluster.nodes {
        for round in 0..3 {
            let path = cluster.path().join(format!("{}-{round}.backup", node.id()));
            let acked = writer.put("last", format!("{round}")).await.unwrap().header.unwrap().revision;
            let saved = save(&node.client_addr(), &path).await;
            assert!(saved["revision"].as_u64().unwrap() >= acked, "{acked} is missing: {saved:#}");
            assert_eq!(saved["node"], node.id(), "{saved:#}");
            assert_eq!(saved["members"].as_array().unwrap().len(), 3, "{saved:#}");
            assert_eq!(saved["bytes"], std::fs::metadata(&path).unwrap().len());
        }
    }
    load.progress(100, PROGRESS_TIMEOUT).await;
    drop(load.stop().await);
    let left = std::fs::read_dir(cluster.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".partial")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A follower is frozen while hundreds of writes are acknowledged, and is asked for a backup before
/// it can hear of them: it must wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lags_waits_for_what_was_acknowledged() {
    const WRITES: u64 = 400;
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let (leader, follower) = (cluster.leader().await, cluster.followers().await[0]);
    let options = || ClientOptions { timeout: PROGRESS_TIMEOUT, ..ClientOptions::default() };
    let asked = Client::connect([cluster.node(follower).client_addr()], options()).unwrap();
    // The connection is there, so that one message is all that is behind the rest.
    asked.status().await.unwrap();
    let writer = Client::connect([cluster.node(leader).client_addr()], options()).unwrap();
    signal(cluster.node(follower).pid(), Signal::STOP);
    let mut acked = 0;
    for n in 0..WRITES {
        acked = writer.put("last", format!("{n}")).await.unwrap().header.unwrap().revision;
    }
    let saving = tokio::spawn(async move { asked.save_backup().await.unwrap().next_part().await.unwrap() });
    // So that it lies in the socket of the frozen process; if it is late, it is answered all the
    // same.
    tokio::time::sleep(Duration::from_millis(100)).await;
    signal(cluster.node(follower).pid(), Signal::CONT);
    let part = saving.await.unwrap().unwrap();
    let backup = BackupReader::open(&*part).unwrap();
    assert_eq!((backup.header().node_id, backup.header().revision), (follower, Some(acked)));
}

/// No node is asked, and whatever was done to the file is told, with an exit code of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_told_offline() {
    let _place = beside_others();
    let mut dice = Dice::new("damaged backups");
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let client = cluster.client();
    for n in 0..50 {
        client.put(format!("key {n}"), dice.bytes(8 * 1024)).await.unwrap();
    }
    let path = cluster.path().join("a.backup");
    let saved = save(&cluster.node(1).client_addr(), &path).await;
    cluster.kill_all();
    let nobody = Kvcli::new(&["127.0.0.1:1".to_owned()]);
    for command in ["verify", "list"] {
        let told = nobody.json(&format!("backup {command} {}", shown(&path))).await;
        let facts =
            |value: &Value| ["cluster_id", "log_index", "revision", "bytes"].map(|it| value[it].clone());
        assert_eq!(facts(&told), facts(&saved), "{command}");
        let text = nobody.ok(&format!("backup {command} {}", shown(&path))).await;
        assert!(text.contains("revision        50") && text.contains("kv, schema "), "{text}");
    }
    let good = std::fs::read(&path).unwrap();
    for _ in 0..DAMAGES {
        let (mut bytes, at) = (good.clone(), dice.below(good.len()));
        match dice.below(3) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            _ => bytes.extend(dice.bytes(1)),
        }
        std::fs::write(&path, bytes).unwrap();
        let ended = nobody.run(&format!("backup verify {}", shown(&path))).await;
        assert_eq!(ended.code, Some(1), "{at}: {ended:#?}");
    }
    let ended = nobody.run(&format!("backup verify {}.none", shown(&path))).await;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
}

/// What breaks off leaves the file that was there; the node sends two backups at a time, and gives
/// their places back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_breaks_off_is_none() {
    let _place = beside_others();
    let mut dice = Dice::new("broken backups");
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let client = cluster.client();
    // More than fits into windows and queues on the way.
    for n in 0..64 {
        client.put(format!("key {n}"), dice.bytes(1024 * 1024)).await.unwrap();
    }
    let address = cluster.node(1).client_addr();
    let path = cluster.path().join("a.backup");
    std::fs::write(&path, "of yesterday").unwrap();

    let slow = async || {
        let mut backups = BackupsClient::connect(format!("http://{address}")).await.unwrap();
        let mut parts = backups.save(pb::SaveRequest {}).await?.into_inner();
        parts.message().await?;
        Ok::<_, tonic::Status>(parts)
    };
    let held = [slow().await.unwrap(), slow().await.unwrap()];
    assert_eq!(slow().await.unwrap_err().code(), Code::ResourceExhausted);
    drop(held);
    wait::until("the places are given back", PROGRESS_TIMEOUT, async || {
        slow().await.map(drop).map_err(|status| status.to_string())
    })
    .await;

    let mut backup = client.save_backup().await.unwrap();
    let first = backup.next_part().await.unwrap();
    assert!(first.is_some() && backup.expected_bytes() > 64 << 20);
    cluster.kill_all();
    let mut ended = Ok(first);
    while let Ok(Some(_)) = ended {
        ended = backup.next_part().await;
    }
    assert!(ended.unwrap_err().to_string().contains("nothing was saved"));
    let ended = Kvcli::new(&[address]).run(&format!("--timeout 1s backup save {}", shown(&path))).await;
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"of yesterday");
}
