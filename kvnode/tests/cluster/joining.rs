//! Attacks `kvnode serve --join`: a node that takes itself into a cluster, told wrongly, stopped
//! and killed on the way, and removed afterwards.

use std::time::Duration;

use crate::support::guarded::{Guarded, entry};
use crate::support::{
    Cluster, ClusterOptions, Front, Kvcli, Node, Ports, as_client, beside_others, cluster_of, free_ports,
    wait,
};

/// How long a step that is waited for may take, a loaded machine included.
const NOTICE: Duration = Duration::from_secs(40);
/// Several attempts of a node to join.
const SPAN: Duration = Duration::from_secs(4);

/// A node that is told to join through these addresses; not started.
fn push(cluster: &mut Cluster, id: u64, join: &str, voter: bool) -> Ports {
    let ports = free_ports(1)[0];
    cluster.push(id, ports, String::new());
    let flags = &mut cluster.node_mut(id).serve.flags;
    flags.extend(["--join".to_owned(), join.to_owned()]);
    flags.extend(voter.then(|| "--voter".to_owned()));
    ports
}

/// Ids and whether they vote, as a member has it.
async fn members(node: &Node) -> Result<Vec<(u64, bool)>, String> {
    Ok(node.status().await?.members.iter().map(|member| (member.id, member.voter)).collect())
}

async fn is_member(cluster: &Cluster, id: u64, voter: bool) {
    wait::until(&format!("node {id} has joined"), NOTICE, async || {
        let members = members(cluster.node(1)).await?;
        wait::is(members.contains(&(id, voter)), || format!("{members:?}: {}", cluster.node(id).log_tail()))
    })
    .await;
}

async fn says(node: &Node, part: &str) {
    wait::until(&format!("node {} says {part:?}", node.id()), NOTICE, async || {
        wait::is(node.log_of_this_run().contains(part), || node.log_tail())
    })
    .await;
}

async fn stays_out(cluster: &Cluster, expected: &[(u64, bool)]) {
    wait::holds_for("the membership stays", SPAN, async || {
        let members = members(cluster.node(1)).await?;
        wait::is(members == expected, || format!("{members:?}"))
    })
    .await;
}

const THREE: [(u64, bool); 3] = [(1, true), (2, true), (3, true)];

/// One flag is all that a new node needs: it becomes a learner, another a voter. What they say and
/// store is right, the same command line starts them again, through a dead member too, and a kill
/// in the middle changes nothing of that. Removed, a node stays out, whatever its command line
/// says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_restarts_and_once_removed_stays_out() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    for key in 0..200 {
        cluster.client().put(format!("key-{key}"), "value").await.unwrap();
    }
    let followers = cluster.followers().await;
    let all = cluster.endpoints().join(",");
    let follower = cluster.node(followers[0]).client_addr();
    push(&mut cluster, 4, &follower, false);
    push(&mut cluster, 5, &all, true);
    cluster.node_mut(4).start();
    is_member(&cluster, 4, false).await;
    says(cluster.node(4), "has joined: node 4 is a learner, and has caught up").await;

    // Killed as soon as it belongs to the cluster: perhaps before it was added, perhaps after.
    cluster.node_mut(5).start();
    wait::until("node 5 belongs to the cluster", NOTICE, async || {
        cluster_of(cluster.node(5)).map(drop).ok_or_else(|| cluster.node(5).log_tail())
    })
    .await;
    cluster.node_mut(5).kill();
    cluster.node_mut(5).start();
    is_member(&cluster, 5, true).await;
    let kvcli = Kvcli::new(&cluster.endpoints());
    kvcli.all_is_well().await;

    // The same command line, and the member that it names is gone.
    cluster.node_mut(followers[0]).kill();
    for id in [4, 5] {
        cluster.node_mut(id).restart().await;
        let node = cluster.node(id);
        wait::until("it is ready", NOTICE, async || {
            let (code, why) = node.http("/readyz").await?;
            wait::is(code == 200, || why)
        })
        .await;
    }
    cluster.node_mut(followers[0]).start();
    kvcli.all_is_well().await;
    let five = [&THREE[..], &[(4, false), (5, true)]].concat();
    assert_eq!(members(cluster.node(1)).await.unwrap(), five);
    cluster.same_state().await;

    for (id, left) in [(5, [&THREE[..], &[(4, false)]].concat()), (4, THREE.to_vec())] {
        kvcli.ok(&format!("cluster remove {id}")).await;
        says(cluster.node(id), &format!("node {id} was removed from cluster")).await;
        cluster.node_mut(id).restart().await;
        says(cluster.node(id), &format!("node {id} was removed from cluster")).await;
        stays_out(&cluster, &left).await;
        let (code, why) = cluster.node(id).http("/readyz").await.unwrap();
        assert!(code == 503 && why.contains("was removed"), "{code} {why}");
    }
}

/// Whatever is named in place of a member's port for clients: the node says what is there, changes
/// nothing, and joins once the cluster is there. Then the ids that are taken, by a member that
/// lives, and by one whose directory was emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_wrongly_says_what_is_there() {
    let _place = beside_others();
    let mut cluster = Cluster::start_uninitialised(ClusterOptions::default()).await;
    let (at, nobody) = (cluster.node(1).ports(), free_ports(1)[0].client_addr());
    push(&mut cluster, 4, &at.client_addr(), true);
    cluster.node_mut(4).start();
    says(cluster.node(4), "belongs to no cluster yet; run `kvcli cluster init`").await;
    cluster.client().init().await.unwrap();
    is_member(&cluster, 4, true).await;
    let four = [&THREE[..], &[(4, true)]].concat();

    let peer_port = format!(
        "this is the port of node 1 for peers; give --join its port for clients, {}",
        at.client_addr()
    );
    for (id, join, part) in
        [(5, at.raft_addr(), &*peer_port), (6, at.http_addr(), &at.http_addr()), (7, nobody.clone(), &nobody)]
    {
        push(&mut cluster, id, &join, true);
        cluster.node_mut(id).start();
        says(cluster.node(id), "has not joined yet, and goes on asking").await;
        says(cluster.node(id), part).await;
        let (code, why) = cluster.node(id).http("/readyz").await.unwrap();
        assert!(code == 503 && why.contains(part), "{code} {why}");
    }
    // Whose id another node has.
    let ports = free_ports(1)[0];
    let mut double = Node::new(
        crate::support::Serve {
            id: 2,
            data_dir: cluster.path().join("double/data"),
            ports,
            peers: String::new(),
            flags: vec!["--join".to_owned(), at.client_addr()],
            ..cluster.node(1).serve.clone()
        },
        &cluster.path().join("double"),
    );
    double.start();
    says(&double, "node 2 is a voter already").await;
    double.kill();
    // Who was a member, and has forgotten all.
    cluster.node_mut(4).kill();
    std::fs::remove_dir_all(&cluster.node(4).serve.data_dir).unwrap();
    cluster.node_mut(4).start();
    says(cluster.node(4), "knows node 4 with another data directory").await;
    stays_out(&cluster, &four).await;
}

/// Options that cannot be meant end the start with exit code 3, and so does a member of one
/// cluster that is told to join another. Without `--join` that member is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_meant_is_refused() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let mut other = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let there = cluster.node(1).client_addr();
    let own = free_ports(1)[0];
    for (flags, part) in [
        (vec!["--voter"], "--voter is given without --join"),
        (vec!["--join", "nowhere"], "--join: 'nowhere'"),
        (vec!["--join", &own.client_addr()], "where this node itself serves"),
        (vec!["--join", "0.0.0.0:7001"], "cannot be dialled"),
        (
            vec!["--join", &there, "--peers", &format!("4={}/{}", own.raft_addr(), own.client_addr())],
            "--join and --peers",
        ),
    ] {
        let flags = flags.into_iter().map(str::to_owned).collect();
        ends_with_three(&mut cluster, own, flags, part).await;
    }
    other.node_mut(1).stop().await;
    let cluster_id = cluster_of(other.node(1)).unwrap();
    other.node_mut(1).serve.peers = String::new();
    other.node_mut(1).serve.flags = vec!["--join".to_owned(), there];
    let node = other.node_mut(1);
    node.start();
    let ends = async || node.exit_status().ok_or("it runs".to_owned());
    assert_eq!(wait::until("it ends", NOTICE, ends).await.code(), Some(3), "{}", node.log_tail());
    for part in ["belongs to a member of cluster", &cluster_id, "give a new node an empty directory"] {
        assert!(node.log_of_this_run().contains(part), "{part}: {}", node.log_tail());
    }
    node.kill();
    node.serve.flags.clear();
    node.start();
    node.up().await;
    other.client().put("key", "value").await.unwrap();
    assert_eq!(members(cluster.node(1)).await.unwrap(), [(1, true)]);
}

async fn ends_with_three(cluster: &mut Cluster, ports: Ports, flags: Vec<String>, part: &str) {
    let serve = crate::support::Serve {
        id: 4,
        data_dir: cluster.path().join("node-4/data"),
        ports,
        peers: String::new(),
        flags,
        ..cluster.node(1).serve.clone()
    };
    let mut node = Node::new(serve, &cluster.path().join("node-4"));
    node.start();
    let ends = async || node.exit_status().ok_or("it runs".to_owned());
    let status = wait::until("it ends", NOTICE, ends).await;
    assert_eq!(status.code(), Some(3), "{part}: {}", node.log_tail());
    assert!(node.log_of_this_run().contains(part), "{part}: {}", node.log_tail());
}

/// A node whose advertised addresses lead nowhere, or to another node, is refused before anything
/// is changed, and joins once they are right, with the directory that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_members_cannot_reach_is_refused_before_anything_is_changed() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let at = cluster.node(1).ports();
    let nowhere = free_ports(1)[0];
    push(&mut cluster, 4, &at.client_addr(), true);
    let right = cluster.node(4).serve.flags.clone();
    for (wrong, part) in [
        (vec!["--advertise-raft-addr".to_owned(), nowhere.raft_addr()], "node 4 cannot become a member"),
        (
            vec!["--advertise-client-addr".to_owned(), nowhere.client_addr()],
            "node 4 does not answer at its client address",
        ),
        (
            vec!["--advertise-client-addr".to_owned(), cluster.node(2).client_addr()],
            "node 2 already has one of these addresses",
        ),
    ] {
        cluster.node_mut(4).serve.flags = [right.clone(), wrong].concat();
        cluster.node_mut(4).start();
        says(cluster.node(4), part).await;
        says(cluster.node(4), "nothing was changed").await;
        assert_eq!(members(cluster.node(1)).await.unwrap(), THREE);
        assert_eq!(cluster_of(cluster.node(4)), None);
        cluster.node_mut(4).stop().await;
    }
    cluster.node_mut(4).serve.flags = right;
    cluster.node_mut(4).start();
    is_member(&cluster, 4, true).await;
}

/// The member that is asked dies while the node joins, and so does the leader: the node goes on
/// through those that are left. It is slow to catch up because its port for peers is silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_although_the_member_that_it_asked_and_the_leader_die() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions { nodes: 5, ..ClusterOptions::default() }).await;
    cluster.client().put("key", "value").await.unwrap();
    let asked = cluster.followers().await[0];
    let ports = free_ports(1)[0];
    cluster.push(6, ports, String::new());
    let data_dir = cluster.node(6).serve.data_dir.clone();
    let falls_silent = Arc::new(AtomicBool::new(true));
    let told = falls_silent.clone();
    let silent = move || told.load(Ordering::Relaxed) && crate::support::cluster_in(&data_dir).is_some();
    let front = Front::of(ports.raft_addr(), silent).await;
    let names = [cluster.node(asked).client_addr(), cluster.node(cluster.leader().await).client_addr()];
    let flags = ["--join", &cluster.endpoints().join(","), "--voter", "--advertise-raft-addr", front.addr()];
    println!("asks {names:?} among others");
    cluster.node_mut(6).serve.flags = flags.map(str::to_owned).to_vec();
    cluster.node_mut(6).start();
    crate::support::adopted(cluster.node(6)).await;
    let leader = cluster.leader().await;
    let dead = [leader, if asked == leader { cluster.followers().await[0] } else { asked }];
    cluster.node_mut(dead[0]).kill();
    cluster.node_mut(dead[1]).kill();
    falls_silent.store(false, Ordering::Relaxed);
    wait::until("node 6 votes", NOTICE, async || {
        let members = members(cluster.node(6)).await?;
        wait::is(members.contains(&(6, true)), || format!("{members:?}: {}", cluster.node(6).log_tail()))
    })
    .await;
    cluster.start_all();
    cluster.all_up().await;
    assert_eq!(cluster.same_state().await.get(b"key").unwrap().value, "value");
}

/// Where nodes ask for rights, a node that is no principal is told so, in its log and when it is
/// asked whether it is ready. It joins once its certificate has the right to administer; another
/// is added by an administrator while it asks, and asks no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_rights_are_asked_for_a_joining_node_needs_them_or_an_administrator() {
    let _place = beside_others();
    let mut guarded = Guarded::start(1, &[], &[]).await;
    guarded.certificates.node(5);
    let join = guarded.cluster.node(1).client_addr();
    let file = guarded.file.to_str().unwrap().to_owned();
    for id in [2, 5] {
        push(&mut guarded.cluster, id, &join, false);
        let tls = as_client(&guarded.certificates, "operator");
        let all = guarded.certificates.all_flags(id);
        let node = guarded.cluster.node_mut(id);
        node.tls = Some(tls);
        node.serve.flags =
            ["--join", &join, "--auth-file", &file].map(str::to_owned).into_iter().chain(all).collect();
        node.start();
        says(guarded.cluster.node(id), &format!("the name of its certificate, 'node {id} of kv'")).await;
        says(guarded.cluster.node(id), "with the right 'admin', or have an administrator add it").await;
    }
    assert_eq!(members(guarded.cluster.node(1)).await.unwrap(), [(1, true)]);
    guarded.set(&[entry("node 2 of kv", r#""admin""#, "")]);
    is_member(&guarded.cluster, 2, false).await;
    let ports = guarded.cluster.node(5).ports();
    let operator = guarded.client(guarded.cluster.node(1), "operator").with_timeout(NOTICE);
    operator.add_learner(5, &ports.raft_addr(), &ports.client_addr()).await.unwrap();
    is_member(&guarded.cluster, 5, false).await;
    wait::until("node 5 serves", NOTICE, async || {
        let status = guarded.cluster.node(5).status().await?;
        wait::is(status.problems.is_empty(), || format!("{:?}", status.problems))
    })
    .await;
}
