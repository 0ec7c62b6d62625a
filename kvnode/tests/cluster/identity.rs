//! Attacks the identity of clusters and of their members: addresses that another cluster's node has
//! taken over, data directories that were wiped or left over, nodes that are initialised
//! where they should not be. Nothing of it may lose an acknowledged write, and every one of it must
//! be named.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Kvcli, Node, admin_client, beside_others, free_ports, wait};
use kvcli::ReadMode;
use proto::kv::v1::{GetRequest, PutRequest};
use proto::node::v1::{InitRequest, Role, SnapshotRequest};
use serde_json::Value;
use tonic::{Code, Request};

/// How long a node may take to find out what it is, and to say so.
const NOTICE: Duration = Duration::from_secs(30);
/// Long enough for a wrong message to do harm, if one could.
const SPAN: Duration = Duration::from_secs(2);

fn one() -> ClusterOptions {
    ClusterOptions { nodes: 1, ..ClusterOptions::default() }
}

async fn health(kvcli: &Kvcli) -> Value {
    let ended = kvcli.run("--output json cluster status").await;
    serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:#?}"))
}

/// Waits until the cluster's status has this verdict, and says this about one of its members.
async fn status_says(cluster: &Cluster, asked: &[u64], id: u64, verdict: &str, part: &str) {
    let endpoints: Vec<_> = asked.iter().map(|id| cluster.node(*id).client_addr()).collect();
    let kvcli = Kvcli::new(&endpoints);
    wait::until(&format!("status says {verdict}, and {part:?} of node {id}"), NOTICE, async || {
        let status = health(&kvcli).await;
        let nodes = status["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["id"] == id).ok_or_else(|| format!("{status:#}"))?;
        let says = status["health"] == verdict && node["problems"].to_string().contains(part);
        wait::is(says, || format!("{status:#}"))
    })
    .await;
}

async fn readyz_says(node: &Node, part: &str) {
    wait::until(&format!("/readyz says {part:?}"), NOTICE, async || {
        let (code, text) = node.http("/readyz").await?;
        wait::is(code == 503 && text.contains(part), || format!("{code}: {text}"))
    })
    .await;
}

/// By a slip, cluster A adds a learner under the address of the only node of cluster B, with the id
/// that this node has. Found: both clusters were called `kv`, so B's node took A's entries, and B's
/// acknowledged pairs were gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_cluster_is_not_taken_over() {
    let _place = beside_others();
    let a = Cluster::start(ClusterOptions::default()).await;
    let mut b = Cluster::prepare(one());
    b.nodes.clear();
    let ports = free_ports(1)[0];
    b.push(4, ports, format!("4={}/{}", ports.raft_addr(), ports.client_addr()));
    b.start_all();
    b.all_up().await;
    b.client().init().await.unwrap();
    b.client().put("precious", "b").await.unwrap();
    let before = b.node(4).status().await.unwrap();

    let line = format!("cluster add-learner 4 {} {}", ports.raft_addr(), ports.client_addr());
    let refused = Kvcli::new(&a.endpoints()).run(&line).await;
    assert_eq!(refused.code, Some(4), "{refused:#?}");
    let theirs = before.header.as_ref().unwrap().cluster_id.clone();
    assert!(
        refused.stderr.contains(&theirs) && refused.stderr.contains("belongs to cluster"),
        "{refused:#?}"
    );
    assert_eq!(a.node(1).status().await.unwrap().members.len(), 3);

    wait::holds_for("the other cluster does not notice", SPAN, async || {
        let now = b.node(4).status().await?;
        let same =
            (now.term, now.role(), now.last_log_index) == (before.term, Role::Leader, before.last_log_index);
        wait::is(same && now.members == before.members, || format!("{now:?}"))
    })
    .await;
    let kept = b.client().get("precious", ReadMode::Linearizable).await.unwrap();
    assert_eq!(kept.pair.unwrap().value, "b");
}

/// A node of cluster B is started where a member of cluster A was, with the same id. A's members
/// talk to it, and it to none of A: it is refused on both sides, named in A's status and in both
/// logs, and neither cluster has a pair of the other. Back at its own place it is what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_on_reused_addresses_do_not_mix() {
    let _place = beside_others();
    let mut a = Cluster::start(ClusterOptions::default()).await;
    let mut b = Cluster::start(ClusterOptions::default()).await;
    a.client().put("who", "a").await.unwrap();
    b.client().put("who", "b").await.unwrap();
    b.settled().await;
    a.node_mut(3).kill();
    b.node_mut(3).kill();
    let own = b.node(3).serve.clone();
    // It listens at A's place and is announced under its own address.
    let [raft, client] = [own.ports.raft_addr(), own.ports.client_addr()];
    b.node_mut(3).serve.ports = a.node(3).ports();
    let advertise = ["--advertise-raft-addr", &raft, "--advertise-client-addr", &client].map(str::to_owned);
    b.node_mut(3).serve.flags.extend(advertise);
    b.node_mut(3).start();
    b.node_mut(3).up().await;
    let mixed = Kvcli::new(&a.endpoints()).run("put key value").await;
    assert_eq!(mixed.code, Some(3), "endpoints of two clusters: {mixed:#?}");
    let endpoints = [1, 2].map(|id| a.node(id).client_addr());
    let client = kvcli::Client::connect(endpoints, kvcli::ClientOptions::default()).unwrap();
    for n in 0..50 {
        client.put(format!("a{n}"), "x").await.unwrap();
    }

    let foreign = b.node(1).status().await.unwrap().header.unwrap().cluster_id;
    status_says(&a, &[1, 2], 3, "degraded", &foreign).await;
    wait::until("both sides name the other", NOTICE, async || {
        let refused = b.node(3).log_of_this_run().contains("refused a peer's request");
        let named = (a.node(1).log() + &a.node(2).log()).contains(&foreign);
        wait::is(refused && named, || format!("refused {refused}, named {named}"))
    })
    .await;
    // What it had applied need not have been on its disk when it was killed.
    let stale = b.node(3).kv().get(GetRequest { key: "who".into(), stale: true }).await.unwrap();
    assert!(stale.into_inner().pair.is_none_or(|pair| pair.value == "b"));

    b.node_mut(3).kill();
    b.node_mut(3).serve = own;
    a.start_all();
    b.start_all();
    a.all_up().await;
    b.all_up().await;
    let (a, b) = (a.same_state().await, b.same_state().await);
    assert_eq!((a.get(b"who").unwrap().value.as_ref(), a.pairs.len()), (&b"a"[..], 51));
    assert_eq!((b.get(b"who").unwrap().value.as_ref(), b.pairs.len()), (&b"b"[..], 1));
}

/// A voter comes back on an empty directory while a write is on it and on the leader only. Found:
/// it was given the log anew as if nothing had happened; with the leader down it voted for the
/// third node, which had never had the write, and an acknowledged write was gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_voter_does_not_vote_and_says_so() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.client().put("before", "x").await.unwrap();
    cluster.settled().await;
    let leader = cluster.leader().await;
    let [wiped, third] = cluster.followers().await[..] else { panic!("three nodes") };
    cluster.node_mut(third).kill();
    cluster.client().put("acknowledged", "x").await.unwrap();
    cluster.node_mut(leader).kill();
    cluster.node_mut(wiped).kill();
    std::fs::remove_dir_all(&cluster.node(wiped).serve.data_dir).unwrap();

    for id in [wiped, third] {
        cluster.node_mut(id).start();
        cluster.node_mut(id).up().await;
    }
    readyz_says(cluster.node(wiped), &format!("cluster remove {wiped}")).await;
    wait::until("its log says so", NOTICE, async || {
        let node = cluster.node(wiped);
        wait::is(node.log_of_this_run().contains("was wiped"), || node.log_tail())
    })
    .await;
    let short = cluster.client_with(Duration::from_secs(2));
    short
        .get("acknowledged", ReadMode::Linearizable)
        .await
        .expect_err("two of three do not remember the write");
    status_says(&cluster, &[third, wiped], wiped, "unavailable", "").await;

    cluster.node_mut(leader).start();
    cluster.node_mut(leader).up().await;
    let kept = cluster.client().get("acknowledged", ReadMode::Linearizable).await.unwrap();
    assert_eq!(kept.pair.unwrap().value, "x");
    status_says(&cluster, &[leader, third], wiped, "degraded", "no cluster").await;
    replaced_as_it_says(&mut cluster, wiped, [leader, third]).await;
}

/// A wiped member whose peer list is not given again, or has only itself, has no peer to ask; its
/// cluster goes on talking to it. Found by a reviewer: it said that it waited to be added, or
/// offered `init`, and `init` made it a cluster of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_that_knows_no_peers_learns_from_what_it_refuses() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let wiped = cluster.followers().await[0];
    let at = cluster.node(wiped).ports();
    let alone_in_it = format!("{wiped}={}/{}", at.raft_addr(), at.client_addr());
    for peers in [String::new(), alone_in_it] {
        let node = cluster.node_mut(wiped);
        node.kill();
        std::fs::remove_dir_all(&node.serve.data_dir).unwrap();
        node.serve.peers = peers;
        node.start();
        node.up().await;
        readyz_says(node, &format!("cluster remove {wiped}")).await;
        let refused = node.admin().init(InitRequest {}).await.unwrap_err();
        assert!(refused.message().contains("was wiped"), "{refused}");
    }
    let rest: Vec<u64> = (1..=3).filter(|id| *id != wiped).collect();
    status_says(&cluster, &rest, wiped, "degraded", &format!("cluster remove {wiped}")).await;
}

/// The cure that is named works.
async fn replaced_as_it_says(cluster: &mut Cluster, wiped: u64, rest: [u64; 2]) {
    let endpoints = rest.map(|id| cluster.node(id).client_addr());
    let kvcli = Kvcli::new(&endpoints);
    kvcli.ok(&format!("cluster remove {wiped}")).await;
    cluster.node_mut(wiped).kill();
    cluster.nodes.retain(|node| node.id() != wiped);
    let ports = free_ports(1)[0];
    cluster.push(4, ports, String::new());
    cluster.start_all();
    cluster.all_up().await;
    kvcli.ok(&format!("cluster add-learner 4 {} {}", ports.raft_addr(), ports.client_addr())).await;
    kvcli.ok("cluster promote 4").await;
    wait::until("all is well", NOTICE, async || {
        let status = health(&kvcli).await;
        wait::is(status["health"] == "ok", || format!("{status:#}"))
    })
    .await;
    cluster.same_state().await;
}

/// Three nodes that were each initialised alone are three clusters, and `status` tells them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_were_initialised_separately_are_told_apart() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    for node in &mut cluster.nodes {
        let ports = node.ports();
        node.serve.peers = format!("{}={}/{}", node.id(), ports.raft_addr(), ports.client_addr());
    }
    cluster.start_all();
    cluster.all_up().await;
    let mut ids = Vec::new();
    for node in &cluster.nodes {
        let answer = node.admin().init(InitRequest {}).await.unwrap().into_inner();
        ids.push(answer.header.unwrap().cluster_id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    let mixed = Kvcli::new(&cluster.endpoints()).run("put key value").await;
    assert!(mixed.code != Some(0), "{mixed:#?}");
    assert!(ids.iter().any(|id| mixed.stderr.contains(id)), "{mixed:#?}");
    let status = Kvcli::new(&cluster.endpoints()[..1]).ok("cluster status").await;
    assert!(ids.iter().any(|id| status.contains(id)), "{status}");
}

/// A node that waits to be added tells its clients so, and not to initialise a cluster; `init`
/// there makes it none. With a peer list of a cluster that exists it learns that by asking, without
/// one it knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_to_be_added_founds_nothing() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let listed = cluster.add_nodes(1).await[0];
    let ports = free_ports(1)[0];
    cluster.push(5, ports, String::new());
    cluster.start_all();
    cluster.all_up().await;
    for id in [listed, 5] {
        let node = cluster.node(id);
        readyz_says(node, &format!("cluster add-learner {id}")).await;
        let refused = node.admin().init(InitRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        let put = PutRequest { key: "k".into(), ..PutRequest::default() };
        let refused = node.kv().put(put).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(!refused.message().contains("cluster init"), "{refused}");
        assert_eq!(refused.metadata().get("node-not-applied").map(|proof| proof.as_bytes()), Some(&b"1"[..]));
        assert!(!node.status().await.unwrap().initialized);
        let ports = node.ports();
        let kvcli = Kvcli::new(&cluster.endpoints()[..1]);
        kvcli.ok(&format!("cluster add-learner {id} {} {}", ports.raft_addr(), ports.client_addr())).await;
    }
    cluster.same_state().await;
}

/// The node that was away when its cluster was initialised is taken in when it comes, and from then
/// on is the member that it is: on an empty directory it is refused like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_member_that_was_away_joins_late_and_once() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    // The one with the smallest id, which would have founded the cluster.
    for id in [2, 3] {
        cluster.node_mut(id).start();
    }
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    cluster.client().put("early", "x").await.unwrap();
    cluster.node_mut(1).start();
    cluster.node_mut(1).up().await;
    cluster.same_state().await;
    wait::until("all is well", NOTICE, async || {
        let status = health(&Kvcli::new(&cluster.endpoints())).await;
        wait::is(status["health"] == "ok", || format!("{status:#}"))
    })
    .await;
    cluster.node_mut(1).kill();
    std::fs::remove_dir_all(&cluster.node(1).serve.data_dir).unwrap();
    cluster.node_mut(1).start();
    cluster.node_mut(1).up().await;
    readyz_says(cluster.node(1), "cluster remove 1").await;
}

/// A request that names another cluster, or another node, has no effect; nor has one of a client
/// that says a node has forwarded it; nor has one that a node forwards, which is to the port for
/// peers, without saying for which cluster it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_cluster_is_refused_before_it_has_an_effect() {
    let _place = beside_others();
    let cluster = Cluster::start(one()).await;
    let own = cluster.node(1).status().await.unwrap().header.unwrap().cluster_id;
    let other = "0123456789abcdef0123456789abcdef";
    for (metadata, code) in [
        (vec![("node-cluster-id", other)], Code::FailedPrecondition),
        (vec![("node-cluster-id", "kv")], Code::InvalidArgument),
        (vec![("node-cluster-id", &own), ("node-target", "2")], Code::FailedPrecondition),
        (vec![("node-forwarded", "1")], Code::PermissionDenied),
        (vec![("node-forwarded", "1"), ("node-cluster-id", &own)], Code::PermissionDenied),
    ] {
        let mut put = Request::new(PutRequest { key: "k".into(), ..PutRequest::default() });
        for (name, value) in &metadata {
            put.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let refused = cluster.node(1).kv().put(put).await.unwrap_err();
        assert_eq!(refused.code(), code, "{metadata:?}: {refused}");
        let says = |name| refused.metadata().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            (says("node-not-applied"), says("node-cluster-id")),
            (Some("1"), Some(&*own)),
            "{metadata:?}"
        );
    }
    let mut peer = admin_client(&cluster.node(1).ports().raft_addr());
    for (metadata, code) in [
        (vec![("node-forwarded", "1")], Code::InvalidArgument),
        (vec![("node-forwarded", "1"), ("node-cluster-id", other)], Code::FailedPrecondition),
    ] {
        let mut snapshot = Request::new(SnapshotRequest {});
        for (name, value) in &metadata {
            snapshot.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let refused = peer.snapshot(snapshot).await.unwrap_err();
        assert_eq!(refused.code(), code, "{metadata:?}: {refused}");
    }
    assert!(cluster.client().get("k", ReadMode::Linearizable).await.unwrap().pair.is_none());
    let mut put = Request::new(PutRequest { key: "k".into(), ..PutRequest::default() });
    put.metadata_mut().insert("node-cluster-id", own.parse().unwrap());
    cluster.node(1).kv().put(put).await.unwrap();
}
