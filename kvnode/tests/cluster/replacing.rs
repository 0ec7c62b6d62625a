//! Attacks `kvcli cluster replace`: killed at every moment and run again, with the old node dead,
//! with the old node leading, and where it must refuse.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{
    Cluster, ClusterOptions, Dice, Kvcli, Load, LoadOptions, Ports, assert_refused, beside_others,
    free_ports, wait,
};

const PROGRESS: u64 = 200;
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(40);
/// Runs of `kvcli` that are killed before one may end.
const KILLS: u64 = 12;
/// From the start of a run to its kill, at most; one run takes about a second.
const MAX_LIFE_MS: usize = 600;

/// A node that waits to be added.
fn push(cluster: &mut Cluster, id: u64) -> Ports {
    let ports = free_ports(1)[0];
    cluster.push(id, ports, String::new());
    cluster.node_mut(id).start();
    ports
}

fn line(old: u64, new: u64, at: Ports) -> String {
    format!("cluster replace {old} {new} {} {}", at.raft_addr(), at.client_addr())
}

/// The members of a cluster, all of which must vote.
async fn voters(kvcli: &Kvcli) -> Vec<u64> {
    let document = kvcli.json("cluster members").await;
    let members = document["members"].as_array().unwrap();
    assert!(members.iter().all(|member| member["voter"] == true), "{document:#}");
    members.iter().map(|member| member["id"].as_u64().unwrap()).collect()
}

/// Under load, the leader is replaced by a command that is killed again and again, a moment later
/// each time. Whenever one looks there are three voters or, while both configurations count, four;
/// the end is the same as that of one run, and running it again changes nothing. Then a follower
/// that is dead is replaced, by a node that joins by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_and_a_dead_node_are_replaced_by_commands_that_are_killed() {
    let _place = beside_others();
    let mut dice = Dice::new("replacing");
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let mut load =
        Load::start(&cluster.client(), LoadOptions { writers: 4, ..LoadOptions::default() }, &mut dice);
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    let old = cluster.leader().await;
    let at = push(&mut cluster, 4);
    cluster.node_mut(4).up().await;
    let kvcli = Kvcli::new(&cluster.endpoints());
    for _ in 0..KILLS {
        let mut command = Command::new(Kvcli::program());
        command
            .args(["--endpoints", &cluster.endpoints().join(",")])
            .args(line(old, 4, at).split_whitespace());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(dice.below(MAX_LIFE_MS) as u64)).await;
        let _ = child.kill();
        child.wait().unwrap();
        let status = cluster.client().latest_status().await.unwrap();
        let voting = status.members.iter().filter(|member| member.voter).count();
        assert!(voting == 3 || (voting == 4 && status.joint), "{:?}", status.members);
    }
    let ended = kvcli.run(&line(old, 4, at)).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains(&format!("node 4 has taken the place of node {old}")), "{ended:#?}");
    let mut expected: Vec<u64> = (1..=4).filter(|id| *id != old).collect();
    assert_eq!(voters(&kvcli).await, expected);
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    let before = cluster.client().latest_status().await.unwrap();
    kvcli.ok(&line(old, 4, at)).await;
    let after = cluster.client().latest_status().await.unwrap();
    assert_eq!((before.membership_index, before.term), (after.membership_index, after.term));
    cluster.node_mut(old).stop().await;

    let leader = wait::until("a leader", PROGRESS_TIMEOUT, async || {
        let leader =
            cluster.client().latest_status().await.map_err(|e| e.to_string())?.header.unwrap().leader_id;
        wait::is(leader != 0, || "none".to_owned()).map(|()| leader)
    })
    .await;
    let dead = *expected.iter().find(|id| **id != leader).unwrap();
    cluster.node_mut(dead).kill();
    let ports = free_ports(1)[0];
    cluster.push(5, ports, String::new());
    cluster.node_mut(5).serve.flags = vec!["--join".to_owned(), cluster.endpoints().join(",")];
    let replace = format!("cluster replace {dead} 5");
    let (ended, ()) = tokio::join!(kvcli.run(&replace), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.node_mut(5).start();
    });
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    for part in ["waits for the new node to join by itself", "node 5 has caught up"] {
        assert!(ended.stderr.contains(part), "no {part:?}: {ended:#?}");
    }
    expected.retain(|id| *id != dead);
    expected.push(5);
    assert_eq!(voters(&kvcli).await, expected);
    kvcli.all_is_well().await;
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    let ledger = load.stop().await;
    assert_eq!(ledger.unknown() + ledger.refused(), 0, "writers saw the changes as failures");
    let state = cluster.same_state().await;
    ledger.assert_kept(&state);
}

/// A command that would replace nothing, or lose the quorum, changes nothing and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_replaced_is_refused() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let kvcli = Kvcli::new(&cluster.endpoints());
    let at = push(&mut cluster, 4);
    cluster.node_mut(4).up().await;
    let three = [1, 2, 3];
    let ended = kvcli.run("cluster replace 4 4").await;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert_refused(&kvcli.run(&line(9, 4, at)).await, &["node 9 is not a member", "nothing was changed"]);
    let old = cluster.node(3).ports();
    assert_refused(
        &kvcli.run(&line(3, 4, old)).await,
        &["node 4 has an address of node 3", "cluster remove 3"],
    );
    let nowhere = free_ports(1)[0];
    assert_refused(
        &kvcli.run(&line(3, 4, nowhere)).await,
        &["node 4 cannot become a member", "nothing was changed"],
    );
    assert_eq!(voters(&kvcli).await, three);

    // It cannot vote where it does not answer, and until it does the old node stays.
    kvcli.ok(&format!("cluster add-learner 4 {} {}", at.raft_addr(), at.client_addr())).await;
    cluster.node_mut(4).kill();
    assert_refused(
        &kvcli.run("cluster replace 3 4").await,
        &["node 4 cannot become a member", "nothing was changed"],
    );
    assert_refused(&kvcli.run(&line(3, 4, nowhere)).await, &["node 4 is a member at", &at.raft_addr()]);
    let members = cluster.client().latest_status().await.unwrap().members;
    let voting: Vec<_> = members.iter().filter(|member| member.voter).map(|member| member.id).collect();
    assert_eq!(voting, three);
    cluster.node_mut(4).start();
    cluster.node_mut(4).up().await;
    kvcli.ok("cluster replace 3 4").await;
    assert_eq!(voters(&kvcli).await, [1, 2, 4]);
}
