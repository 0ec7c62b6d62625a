//! Attacks changes of the membership and of leadership, made with the `kvcli` program while writers
//! write.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Dice, Kvcli, Load, LoadOptions, beside_others, wait};
use serde_json::Value;

const PROGRESS: u64 = 200;
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(40);
/// Several election timeouts: long enough for a removed node to ask for votes if it ever does.
const DISTURBANCE_SPAN: Duration = Duration::from_secs(4);

/// From 3 nodes to 5 and back to 3 under load, the leader among the removed, and leadership handed
/// over on request in between. Attacked: a learner that votes too early, a promise lost between two
/// configurations, a leader that presides over its own removal and leaves no successor, writers
/// that see any of it as a failure, and a removed node that keeps asking for votes and raises the
/// term.
///
/// Found: `kvcli cluster members` showed what the first endpoint knew, which after a change was the
/// old membership for a moment, and for ever if that node had been removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_grow_to_five_and_shrink_to_three_under_load() {
    let _place = beside_others();
    let mut dice = Dice::new("membership");
    let mut cluster =
        Cluster::start(ClusterOptions { snapshot_entries: Some(1000), ..ClusterOptions::default() }).await;
    let kvcli = Kvcli::new(&cluster.endpoints());
    let mut load =
        Load::start(&cluster.client(), LoadOptions { writers: 8, ..LoadOptions::default() }, &mut dice);
    load.progress(5 * PROGRESS, PROGRESS_TIMEOUT).await;

    grow(&mut cluster, &kvcli, &mut load).await;
    hand_leadership_over(&cluster, &kvcli, &mut dice).await;
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    let removed = shrink(&cluster, &kvcli, &mut dice).await;
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    nobody_is_disturbed(&cluster, &removed).await;
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;

    let mut endpoints = cluster.endpoints();
    endpoints.sort_by_key(|addr| removed.iter().all(|id| cluster.node(*id).client_addr() != *addr));
    assert_eq!(members(&Kvcli::new(&endpoints)).await.len(), 3, "asked of a removed node first");
    let ledger = load.stop().await;
    assert_eq!(ledger.unknown() + ledger.refused(), 0, "writers saw the changes as failures");
    removed.iter().for_each(|id| cluster.node_mut(*id).kill());
    let state = cluster.same_state().await;
    ledger.assert_kept(&state);
}

async fn grow(cluster: &mut Cluster, kvcli: &Kvcli, load: &mut Load) {
    for id in cluster.add_nodes(2).await {
        let ports = cluster.node(id).ports();
        kvcli.ok(&format!("cluster add-learner {id} {} {}", ports.raft_addr(), ports.client_addr())).await;
        load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
    }
    assert_eq!(members(kvcli).await, [(1, true), (2, true), (3, true), (4, false), (5, false)]);
    kvcli.ok("cluster promote 4 5").await;
    assert_eq!(members(kvcli).await, [(1, true), (2, true), (3, true), (4, true), (5, true)]);
    load.progress(PROGRESS, PROGRESS_TIMEOUT).await;
}

/// To one of the new nodes.
async fn hand_leadership_over(cluster: &Cluster, kvcli: &Kvcli, dice: &mut Dice) {
    let old = cluster.leader().await;
    let heir = dice.pick(&[4, 5]);
    wait::until(&format!("node {old} hands over to node {heir}"), PROGRESS_TIMEOUT, async || {
        kvcli.ok(&format!("cluster transfer-leader {heir}")).await;
        let leader = cluster.leader().await;
        wait::is(leader == heir, || format!("node {leader} leads"))
    })
    .await;
    kvcli.all_is_well().await;
    let status = kvcli.json("cluster status").await;
    assert_eq!(status["leader"]["id"], heir, "{status:#}");
    assert_eq!(status["health"], "ok", "{status:#}");
    let table = kvcli.ok("cluster status").await;
    assert!(table.contains(&format!("leader  node {heir}")), "{table}");
}

/// The leader and one other leave in one change; answers them.
async fn shrink(cluster: &Cluster, kvcli: &Kvcli, dice: &mut Dice) -> [u64; 2] {
    let leader = cluster.leader().await;
    let other = dice.pick(&cluster.followers().await);
    kvcli.ok(&format!("cluster remove {leader} {other}")).await;
    let left = members(kvcli).await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left.iter().all(|(id, voter)| *voter && *id != leader && *id != other), "{left:?}");
    [leader, other]
}

/// The removed nodes run on, and their term stays: who asks for votes raises its own term first.
/// That of the rest may rise by an election among themselves, which a busy machine causes.
async fn nobody_is_disturbed(cluster: &Cluster, removed: &[u64]) {
    let terms = async |of_removed: bool| {
        let nodes = cluster.nodes.iter().filter(|node| removed.contains(&node.id()) == of_removed);
        let statuses = futures_util::future::try_join_all(nodes.map(|node| node.status())).await?;
        Ok::<_, String>(statuses.iter().map(|status| status.term).collect::<Vec<_>>())
    };
    let settled = wait::until("the rest agrees on the term", PROGRESS_TIMEOUT, async || {
        let terms = terms(false).await?;
        wait::is(terms.iter().all(|term| *term == terms[0]), || format!("{terms:?}")).map(|()| terms[0])
    })
    .await;
    let before = terms(true).await.unwrap();
    wait::holds_for("the removed nodes disturb nobody", DISTURBANCE_SPAN, async || {
        let now = terms(true).await?;
        wait::is(now == before, || format!("their terms {before:?} became {now:?}"))?;
        let rest = terms(false).await?;
        let by_chance = settled..=settled + 1;
        wait::is(rest.iter().all(|term| by_chance.contains(term)), || format!("{settled} became {rest:?}"))
    })
    .await;
}

/// Ids and whether they vote.
async fn members(kvcli: &Kvcli) -> Vec<(u64, bool)> {
    let document = kvcli.json("cluster members").await;
    let member = |member: &Value| (member["id"].as_u64().unwrap(), member["voter"].as_bool().unwrap());
    document["members"].as_array().unwrap().iter().map(member).collect()
}
