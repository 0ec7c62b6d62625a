//! Attacks the founding of a cluster: the founder dies between its steps. One cluster comes of it,
//! the one that was begun, or `init` says what to do.

use std::time::Duration;

use crate::support::{
    Cluster, ClusterOptions, Dice, Interposer, Kvcli, Node, adopted, assert_refused, beside_others,
    cluster_of, is_one_cluster, wait,
};
use network_grpc::{GrpcNetwork, LocalIdentity, NetworkOptions};
use openraft::network::RPCOption;
use openraft::raft::VoteRequest;
use openraft::{RaftNetworkFactory as _, RaftNetworkV2 as _, Vote};
use proto::node::v1::InitRequest;
use raftnode::Member;
use raftnode::identity::Identity;

// A vote is the same whatever entries carry.
openraft::declare_raft_types!(TypeConfig: D = String, R = (), NodeId = u64, Node = Member);

/// How long a vote may take.
const VOTE_TIMEOUT: Duration = Duration::from_secs(15);
/// After it was interrupted, `init` may be refused for as long as a promise to another founder
/// holds, which is 10 s, and not for longer.
const INIT_WORKS_WITHIN: Duration = Duration::from_secs(60);
/// Founders that are killed at a random moment, of every run of the tests,
const FEW_ROUNDS: usize = 2;
/// and in CI.
const ROUNDS: usize = 8;
/// All nodes belong to the cluster some 6 ms after `init` was begun, and the first entry follows;
/// the founder is killed this long after the beginning at the latest.
const MAX_DELAY_MICROS: usize = 12_000;

/// When the founder dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Died {
    /// Its peers belong to the cluster that it was founding, and it does not.
    BeforeItBelonged,
    /// All belong to it, and there is no entry.
    BeforeTheFirstEntry,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_dies_before_it_belonged_itself_founds_when_it_is_back() {
    founder_dies(Died::BeforeItBelonged, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_dies_before_the_first_entry_founds_when_it_is_back() {
    founder_dies(Died::BeforeTheFirstEntry, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_found_without_a_founder_that_died_before_it_belonged_itself() {
    founder_dies(Died::BeforeItBelonged, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_found_without_a_founder_that_died_before_the_first_entry() {
    founder_dies(Died::BeforeTheFirstEntry, false).await;
}

const FOUNDER: u64 = 1;

/// Three nodes, and the cluster that node 1 was founding when it was killed, because its disk let
/// it go no further than to `died`.
async fn interrupted(died: Died) -> (Cluster, String) {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let interposer = Interposer::for_cluster_in(cluster.path());
    interposer.between_disk_and(&mut cluster.node_mut(FOUNDER).serve);
    cluster.start_all();
    cluster.all_up().await;
    match died {
        Died::BeforeItBelonged => interposer.hang(FOUNDER),
        Died::BeforeTheFirstEntry => interposer.hang_directories(FOUNDER),
    }
    let mut admin = cluster.node(FOUNDER).admin();
    let begun = tokio::spawn(async move { admin.init(InitRequest {}).await });
    let cluster_id = adopted(cluster.node(2)).await;
    assert_eq!(adopted(cluster.node(3)).await, cluster_id);
    match died {
        Died::BeforeItBelonged => assert_eq!(cluster_of(cluster.node(FOUNDER)), None),
        Died::BeforeTheFirstEntry => assert_eq!(adopted(cluster.node(FOUNDER)).await, cluster_id),
    }
    for status in cluster.statuses().await.unwrap() {
        assert!(!status.initialized, "{status:?}");
    }
    cluster.node_mut(FOUNDER).kill();
    begun.await.unwrap().expect_err("there is no cluster yet");
    interposer.answer(FOUNDER);
    (cluster, cluster_id)
}

/// `init` at another node afterwards makes the cluster that was begun, with the founder if it is
/// back, else without it, and it joins when it comes.
async fn founder_dies(died: Died, comes_back: bool) {
    let _place = beside_others();
    let (mut cluster, cluster_id) = interrupted(died).await;
    if comes_back {
        cluster.node_mut(FOUNDER).start();
        cluster.node_mut(FOUNDER).up().await;
    }
    Kvcli::new(&[cluster.node(3).client_addr()]).ok("cluster init").await;
    cluster.client().put("key", "value").await.unwrap();
    cluster.start_all();
    cluster.all_up().await;
    is_one_cluster(&cluster).await;
    assert_eq!(cluster_of(cluster.node(FOUNDER)), Some(cluster_id), "the one that was begun");
}

/// The founder dies once the others have voted for it, before they have anything of its log: they
/// cannot found without it. Found, with the founder killed at random moments: `init` said that the
/// cluster was initialised, and to start a majority, of which there was one; it was without a
/// leader for ever. Now it says to start the founder, or what to do if that is lost; both help. Its
/// vote is asked for by the test: it hardly ever dies at the right moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_after_a_vote_for_a_founder_that_died_says_to_start_it() {
    let _place = beside_others();
    for founder_is_lost in [false, true] {
        let (mut cluster, cluster_id) = interrupted(Died::BeforeTheFirstEntry).await;
        for id in [2, 3] {
            ask_for_vote(cluster.node(FOUNDER), cluster.node(id)).await;
        }
        let kvcli = Kvcli::new(&[cluster.node(3).client_addr()]);
        for _ in 0..2 {
            let refused = kvcli.run("cluster init").await;
            assert_refused(&refused, &["start node 1", &cluster_id, "on empty data directories"]);
        }
        if founder_is_lost {
            for id in [2, 3] {
                cluster.node_mut(id).kill();
                std::fs::remove_dir_all(&cluster.node(id).serve.data_dir).unwrap();
                cluster.node_mut(id).start();
                cluster.node_mut(id).up().await;
            }
            kvcli.ok("cluster init").await;
            cluster.client().put("key", "value").await.unwrap();
            assert_ne!(cluster_of(cluster.node(2)), Some(cluster_id));
        } else {
            cluster.start_all();
            cluster.all_up().await;
            kvcli.ok("cluster init").await;
            cluster.client().put("key", "value").await.unwrap();
            is_one_cluster(&cluster).await;
            assert_eq!(cluster_of(cluster.node(2)), Some(cluster_id));
        }
    }
}

/// What the founder asks once it has written the first entry. It is granted.
async fn ask_for_vote(founder: &Node, voter: &Node) {
    let member =
        |node: &Node| Identity::read(&node.serve.data_dir).unwrap().unwrap().identity.member.unwrap();
    let (own, theirs) = (member(founder), member(voter));
    let identity = LocalIdentity::member_of(founder.id(), own);
    let mut network = GrpcNetwork::<TypeConfig, tokio::fs::File>::new(identity, NetworkOptions::default());
    let at = Member::at(voter.ports().raft_addr(), voter.client_addr());
    let at = at.in_cluster(theirs.cluster_id, theirs.incarnation);
    let mut client = network.new_client(voter.id(), &at).await;
    let vote = VoteRequest::new(Vote::new(1, founder.id()), None);
    let answer = client.vote(vote, RPCOption::new(VOTE_TIMEOUT)).await.unwrap();
    assert!(answer.vote_granted, "{answer:?}");
}

/// The founder, or the founder and others, are killed at random moments after `init` was begun.
/// Whatever was reached, a later `init` at any node makes one cluster, or is refused in words that
/// say to try again, and works when a promise to the dead founder has run out, or to start the
/// founder, and works then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_founder_dies_one_cluster_comes_of_it() {
    founders_die(FEW_ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "eight founders that die: .ci/run"]
async fn whenever_any_of_many_founders_dies_one_cluster_comes_of_it() {
    founders_die(ROUNDS).await;
}

async fn founders_die(rounds: usize) {
    let _place = beside_others();
    let mut dice = Dice::new("whenever_the_founder_dies");
    for round in 1..=rounds {
        let mut cluster = Cluster::start_uninitialised(ClusterOptions::default()).await;
        let mut admin = cluster.node(dice.pick(&[1, 2, 3])).admin();
        let begun = tokio::spawn(async move { admin.init(InitRequest {}).await });
        let delay = Duration::from_micros(dice.below(MAX_DELAY_MICROS) as u64);
        tokio::time::sleep(delay).await;
        let killed = dice.pick(&[&[1][..], &[1], &[1, 2], &[1, 2, 3]]);
        killed.iter().for_each(|id| cluster.node_mut(*id).send_kill());
        killed.iter().for_each(|id| cluster.node_mut(*id).kill());
        let belonging = cluster.nodes.iter().filter(|node| cluster_of(node).is_some()).count();
        let founder_alone = cluster_of(cluster.node(1)).is_some() && belonging == 1;
        assert!(!founder_alone, "the founder is the last to join");
        drop(begun.await);

        let comes_back = killed.len() > 1 || dice.pick(&[true, false]);
        if comes_back {
            cluster.start_all();
            cluster.all_up().await;
        }
        let asked = dice.pick(&[2, 3]);
        let refused = init_until_it_works(&mut cluster, asked).await;
        println!(
            "round {round}: killed {killed:?} after {delay:.1?}, {belonging} nodes belonged to a cluster; init at \
             node {asked}, founder back {comes_back}: refused {refused} times"
        );
        cluster.client().put("key", "value").await.unwrap();
        cluster.start_all();
        cluster.all_up().await;
        is_one_cluster(&cluster).await;
    }
}

/// Does as it is told; answers how often it was refused.
async fn init_until_it_works(cluster: &mut Cluster, at: u64) -> usize {
    let kvcli = Kvcli::new(&[cluster.node(at).client_addr()]);
    let mut refused = 0;
    wait::until("init works", INIT_WORKS_WITHIN, async || {
        let ended = kvcli.run("cluster init").await;
        if ended.code == Some(0) {
            return Ok(refused);
        }
        refused += 1;
        if ended.stderr.contains("start node 1") {
            cluster.start_all();
            cluster.all_up().await;
        } else {
            // A node that was too busy to answer has refused nothing.
            assert!(ended.code != Some(4) || ended.stderr.contains("try again"), "{ended:#?}");
        }
        Err(ended.stderr)
    })
    .await
}
