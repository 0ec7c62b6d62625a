//! Where requests go, and what is sent again.

use std::time::{Duration, Instant};

use kvcli::{Client, ClientError, ClientOptions, ReadMode};
use tonic::Code;

use crate::fake::{Fake, Step, closed_address};

fn client(endpoints: &[&str], timeout: Duration) -> Client {
    Client::connect(endpoints, ClientOptions { timeout, ..ClientOptions::default() }).unwrap()
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_retried_write_keeps_its_request_id_and_the_next_gets_another() {
    let fake = Fake::start().await;
    fake.script([Step::Fail(Code::Unavailable, None), Step::ApplyAndCut, Step::FailBare(Code::Unavailable)]);
    let client = client(&[&fake.address], LONG);
    client.put("k", "v").await.unwrap();
    client.delete("k").await.unwrap();
    let ids: Vec<_> = fake.seen().into_iter().map(|seen| seen.request_id.unwrap()).collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| id.client_id == ids[0].client_id && id.client_id.len() == 16));
    assert_eq!(ids.iter().map(|id| id.sequence).collect::<Vec<_>>(), [1, 1, 1, 1, 2]);
    assert!(fake.seen().iter().all(|seen| seen.has_deadline));
}

#[tokio::test]
async fn writes_after_one_another_have_one_client_id() {
    let fake = Fake::start().await;
    let first = client(&[&fake.address], LONG);
    first.put("k", "v").await.unwrap();
    first.clone().put("k", "v").await.unwrap();
    let ids: Vec<_> = fake.seen().into_iter().map(|seen| seen.request_id.unwrap()).collect();
    assert_eq!((ids[0].sequence, ids[1].sequence), (1, 2));
    assert_eq!(ids[0].client_id, ids[1].client_id);
}

#[tokio::test]
async fn a_write_without_an_answer_holds_up_no_other() {
    let fake = Fake::start().await;
    fake.script([Step::Hang]);
    let client = client(&[&fake.address], Duration::from_millis(500));
    let (first, second) = tokio::join!(client.put("a", "1"), async {
        while fake.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        client.put("b", "2").await
    });
    assert!(matches!(first, Err(ClientError::OutcomeUnknown { .. })), "{first:?}");
    second.unwrap();
    let ids: Vec<_> = fake.seen().into_iter().map(|seen| seen.request_id.unwrap()).collect();
    assert_ne!(ids[0].client_id, ids[1].client_id);
}

#[tokio::test]
async fn the_leader_named_in_an_answer_is_asked_next() {
    let (follower, leader) = (Fake::start().await, Fake::start().await);
    follower.with(|state| state.leader = leader.address.clone());
    leader.with(|state| state.leader = leader.address.clone());
    // The client was not told about the leader.
    let client = client(&[&follower.address], LONG);
    for _ in 0..3 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!((follower.seen().len(), leader.seen().len()), (1, 2));
    // A stale read need not trouble the leader.
    client.get("k", ReadMode::Stale).await.unwrap();
    assert_eq!(follower.seen().last().unwrap().operation, "get");
}

#[tokio::test]
async fn the_leader_named_in_an_error_is_asked_at_once() {
    let (follower, leader) = (Fake::start().await, Fake::start().await);
    follower.always(Step::Fail(Code::Unavailable, Some(leader.address.clone())));
    leader.with(|state| state.leader = leader.address.clone());
    let client = client(&[&follower.address], LONG);
    client.put("k", "v").await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!((follower.seen().len(), leader.seen().len()), (1, 2));
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_costs_one_attempt() {
    let node = Fake::start().await;
    node.with(|state| state.leader = closed_address());
    let client = client(&[&node.address], LONG);
    let started = Instant::now();
    for _ in 0..20 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!(node.seen().len(), 20);
    assert!(started.elapsed() < Duration::from_secs(2), "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let node = Fake::start().await;
    let (dead, deaf) = (closed_address(), Fake::start().await);
    deaf.always(Step::Fail(Code::Unavailable, None));
    let client = client(&[&dead, &deaf.address, &node.address], LONG);
    client.put("k", "v").await.unwrap();
    assert_eq!((deaf.seen().len(), node.seen().len()), (1, 1));
    // The one that answered is asked first from now on.
    client.get("k", ReadMode::Stale).await.unwrap();
    assert_eq!(deaf.seen().len(), 1);
}

#[tokio::test]
async fn a_damaged_node_is_left_alone_and_the_others_are_asked() {
    let (damaged, node) = (Fake::start().await, Fake::start().await);
    damaged.always(Step::Fail(Code::DataLoss, None));
    node.script([Step::Fail(Code::Unavailable, None), Step::Fail(Code::Unavailable, None)]);
    client(&[&damaged.address, &node.address], LONG).put("k", "v").await.unwrap();
    assert_eq!((damaged.seen().len(), node.seen().len()), (1, 3));
}

#[tokio::test]
async fn a_change_of_the_membership_is_not_sent_twice() {
    let fake = Fake::start().await;
    fake.script([Step::Fail(Code::Unavailable, None), Step::ApplyAndCut]);
    let result = client(&[&fake.address], LONG).change_membership(&[4], &[], false).await;
    assert!(matches!(result, Err(ClientError::OutcomeUnknown { .. })), "{result:?}");
    // The first was not applied, so that a second was allowed.
    assert_eq!(fake.seen().len(), 2);
    // A node whose storage has failed would be passed over, if it were sure that it did nothing.
    let (damaged, node) = (Fake::start().await, Fake::start().await);
    damaged.always(Step::FailBare(Code::DataLoss));
    let endpoints = [damaged.address.as_str(), &node.address];
    let result = client(&endpoints, LONG).change_membership(&[4], &[], false).await;
    assert!(matches!(result, Err(ClientError::OutcomeUnknown { .. })), "{result:?}");
    assert!(node.seen().is_empty());
    damaged.always(Step::Fail(Code::DataLoss, None));
    client(&endpoints, LONG).change_membership(&[4], &[], false).await.unwrap();
}

#[tokio::test]
async fn many_writes_over_few_connections() {
    let fake = Fake::start().await;
    let options = ClientOptions { connections_per_endpoint: 4, ..ClientOptions::default() };
    let first = Client::connect([&fake.address], options).unwrap();
    let puts = (0..200).map(|number| first.put(format!("k{number}"), "v"));
    futures_util::future::try_join_all(puts).await.unwrap();
    assert_eq!(fake.with(|state| state.pairs.len()), 200);
    assert_eq!(fake.connections(), 4);
    let ids: std::collections::HashSet<_> =
        fake.seen().into_iter().map(|seen| seen.request_id.unwrap().client_id).collect();
    assert_eq!(ids.len(), 200);
}

#[tokio::test]
async fn a_leader_that_hangs_costs_one_attempt() {
    let (hanging, node) = (Fake::start().await, Fake::start().await);
    hanging.always(Step::Hang);
    node.with(|state| state.leader = hanging.address.clone());
    let client = client(&[&hanging.address, &node.address], Duration::from_millis(600));
    for _ in 0..3 {
        client.put("k", "v").await.unwrap();
    }
    assert_eq!((hanging.seen().len(), node.seen().len()), (1, 3));
}
