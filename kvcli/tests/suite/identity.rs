//! A client talks to one cluster, whatever serves at the addresses it was given.

use std::time::{Duration, Instant};

use kvcli::{Client, ClientError, ClientOptions, ReadMode};
use tonic::Code;

use crate::fake::{CLUSTER, Fake, OTHER, Step, closed_address};
use crate::program::run;

fn client(endpoints: &[&str]) -> Client {
    Client::connect(endpoints, ClientOptions::default()).unwrap()
}

fn pinned(endpoints: &[&str], cluster: &str) -> Client {
    let cluster_id = Some(cluster.parse().unwrap());
    let timeout = Duration::from_millis(500);
    Client::connect(endpoints, ClientOptions { cluster_id, timeout, ..ClientOptions::default() }).unwrap()
}

async fn stranger() -> Fake {
    let fake = Fake::start().await;
    fake.with(|state| state.cluster = OTHER.into());
    fake
}

/// What the requests seen by `fake` named as their cluster.
fn named(fake: &Fake) -> Vec<Option<String>> {
    fake.seen().into_iter().map(|seen| seen.cluster).collect()
}

#[tokio::test]
async fn the_first_answer_names_the_cluster_and_later_requests_do() {
    let fake = Fake::start().await;
    let client = client(&[&fake.address]);
    assert_eq!(client.cluster_id(), None);
    client.put("k", "v").await.unwrap();
    client.clone().put("k", "v").await.unwrap();
    client.get("k", ReadMode::Stale).await.unwrap();
    client.transfer_leader(2).await.unwrap();
    let known = Some(CLUSTER.to_owned());
    assert_eq!(named(&fake), [None, known.clone(), known.clone(), known]);
    assert_eq!(client.cluster_id().unwrap().to_string(), CLUSTER);
    assert_eq!(client.options().cluster_id, client.cluster_id());
    // `init` makes a cluster, and one endpoint is not asked what it is.
    client.init().await.unwrap();
    assert_eq!(named(&fake).last(), Some(&None));
    assert_eq!(fake.with(|state| state.asked), 0);
}

#[tokio::test]
async fn a_failure_names_the_cluster_too() {
    let fake = Fake::start().await;
    fake.script([Step::Fail(Code::Unavailable, None)]);
    client(&[&fake.address]).put("k", "v").await.unwrap();
    assert_eq!(named(&fake), [None, Some(CLUSTER.to_owned())]);
}

#[tokio::test]
async fn several_endpoints_are_asked_once_before_anything_is_sent() {
    let fakes = [Fake::start().await, Fake::start().await, Fake::start().await];
    let addresses = [&fakes[0].address, &fakes[1].address, &fakes[2].address];
    let client = client(&addresses.map(String::as_str));
    let puts = (0..20).map(|_| client.put("k", "v"));
    futures_util::future::try_join_all(puts).await.unwrap();
    for fake in &fakes {
        assert_eq!(fake.with(|state| state.asked), 1);
        assert!(named(fake).iter().all(|cluster| cluster.as_deref() == Some(CLUSTER)));
    }
    assert_eq!(fakes.iter().map(|fake| fake.seen().len()).sum::<usize>(), 20);
}

/// Found: with a node of another cluster at the address of a member, a put went into that cluster
/// and was acknowledged.
#[tokio::test]
async fn endpoints_of_two_clusters_are_refused_before_anything_is_sent() {
    let (foreign, own) = (stranger().await, Fake::start().await);
    for endpoints in [[&foreign.address, &own.address], [&own.address, &foreign.address]] {
        for result in [
            client(&endpoints.map(String::as_str)).put("k", "v").await.map(drop),
            client(&endpoints.map(String::as_str)).get("k", ReadMode::Linearizable).await.map(drop),
            client(&endpoints.map(String::as_str)).transfer_leader(2).await.map(drop),
        ] {
            let Err(ClientError::SeveralClusters { clusters }) = result else { panic!("{result:?}") };
            assert_eq!(clusters.len(), 2);
        }
        let endpoints = endpoints.map(String::as_str).join(",");
        let ended = run(&endpoints, &["put", "k", "v"]).await.expect_code(3);
        for text in [&own.address, &foreign.address, CLUSTER, OTHER] {
            assert!(ended.stderr.contains(text), "{ended:?}");
        }
    }
    assert_eq!((own.seen().len(), foreign.seen().len()), (0, 0));
}

#[tokio::test]
async fn a_chosen_cluster_needs_no_question_and_passes_over_strangers() {
    let (foreign, own) = (stranger().await, Fake::start().await);
    let client = pinned(&[&foreign.address, &own.address], CLUSTER);
    client.put("k", "v").await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!((own.seen().len(), foreign.seen().len()), (2, 0));
    assert_eq!((own.with(|state| state.asked), foreign.with(|state| state.asked)), (0, 0));
    let endpoints = format!("{},{}", foreign.address, own.address);
    run(&endpoints, &["put", "k", "v", "--cluster", CLUSTER]).await.expect_code(0);
    assert_eq!(foreign.with(|state| state.pairs.len()), 0);
}

#[tokio::test]
async fn with_strangers_only_the_error_says_so() {
    let foreign = stranger().await;
    let alone = pinned(&[&foreign.address], CLUSTER).put("k", "v").await;
    assert!(matches!(alone, Err(ClientError::ForeignNodes { last: None, .. })), "{alone:?}");
    let ended = run(&foreign.address, &["put", "k", "v", "--cluster", CLUSTER]).await.expect_code(4);
    assert!(ended.stderr.contains(&format!("{} belongs to cluster {OTHER}", foreign.address)), "{ended:?}");
    // The one that is down may be of the right cluster.
    let dead = closed_address();
    let endpoints = format!("{},{dead}", foreign.address);
    for args in [&["put", "k", "v"][..], &["get", "k"], &["cluster", "members"], &["health"]] {
        let args = [args, &["--cluster", CLUSTER, "--timeout", "400ms"]].concat();
        let ended = run(&endpoints, &args).await.expect_code(2);
        for text in [&foreign.address, OTHER, &dead] {
            assert!(ended.stderr.contains(text), "{ended:?}");
        }
    }
}

/// The node took over the address while the client was running, and does not look at what a
/// request names.
#[tokio::test]
async fn an_answer_of_another_cluster_is_not_believed() {
    let fake = Fake::start().await;
    let client = client(&[&fake.address]);
    client.put("k", "v").await.unwrap();
    fake.with(|state| {
        state.cluster = OTHER.into();
        state.checks_cluster = false;
    });
    let put = client.put("k", "v").await;
    assert!(matches!(put, Err(ClientError::ForeignAnswer { wrote: true, .. })), "{put:?}");
    let get = client.get("k", ReadMode::Linearizable).await;
    assert!(matches!(get, Err(ClientError::ForeignAnswer { wrote: false, .. })), "{get:?}");
    // A failure that does not prove that nothing was done there.
    fake.script([Step::Fail(Code::Unknown, None)]);
    let put = client.put("k", "v").await;
    assert!(matches!(put, Err(ClientError::ForeignAnswer { wrote: true, .. })), "{put:?}");
    assert_eq!(fake.seen().len(), 4);
    let pinned = ["put", "k", "v", "--cluster", CLUSTER];
    let ended = run(&fake.address, &pinned).await.expect_code(5);
    assert!(ended.stderr.contains(OTHER) && ended.stderr.contains("may have been applied"), "{ended:?}");
    run(&fake.address, &["get", "k", "--cluster", CLUSTER]).await.expect_code(4);
}

/// A node that waits to be added belongs to no cluster, and refuses what is meant for one.
#[tokio::test]
async fn a_node_without_a_cluster_is_passed_over() {
    let (waiting, own) = (Fake::start().await, Fake::start().await);
    waiting.with(|state| state.cluster = String::new());
    for endpoints in [[&waiting.address, &own.address], [&own.address, &waiting.address]] {
        let client = client(&endpoints.map(String::as_str));
        client.put("k", "v").await.unwrap();
        client.get("k", ReadMode::Stale).await.unwrap();
    }
    pinned(&[&waiting.address, &own.address], CLUSTER).put("k", "v").await.unwrap();
    assert_eq!((waiting.seen().len(), own.seen().len()), (0, 5));
    let alone = pinned(&[&waiting.address], CLUSTER).put("k", "v").await;
    assert!(matches!(alone, Err(ClientError::Refused { .. })), "{alone:?}");
}

#[tokio::test]
async fn a_frozen_endpoint_costs_the_grace_period_and_no_more() {
    let (frozen, node) = (Fake::start().await, Fake::start().await);
    frozen.with(|state| state.frozen = true);
    node.with(|state| state.leader = frozen.address.clone());
    let client = client(&[&frozen.address, &node.address]);
    let started = Instant::now();
    // This one is sent once only: it goes to the node that is known to answer.
    client.transfer_leader(2).await.unwrap();
    client.put("k", "v").await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
}

/// Until some node says what the cluster is, nothing is sent that a foreign one could take.
#[tokio::test]
async fn nothing_is_sent_while_no_node_answers() {
    let fakes = [Fake::start().await, Fake::start().await];
    for fake in &fakes {
        fake.with(|state| state.frozen = true);
    }
    let client = client(&[&fakes[0].address, &fakes[1].address]);
    let thaw = async {
        while fakes.iter().any(|fake| fake.with(|state| state.asked) == 0) {
            tokio::task::yield_now().await;
        }
        fakes[1].with(|state| state.frozen = false);
    };
    let thaw = tokio::time::timeout(Duration::from_secs(10), thaw);
    let (put, thawed) = tokio::join!(client.put("k", "v"), thaw);
    thawed.expect("the endpoints were not asked");
    put.unwrap();
    assert_eq!((named(&fakes[0]), named(&fakes[1])), (vec![], vec![Some(CLUSTER.to_owned())]));
}
