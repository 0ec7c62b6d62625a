//! Attacks "applied once": the same named write sent again, to other nodes, after a change of
//! leader, after a restart.

use crate::support::{Cluster, ClusterOptions, Dice, Node, beside_others};
use futures_util::future::join_all;
use proto::kv::v1::{DeleteRequest, GetRequest, Pair, PutRequest, PutResponse, RequestId};
use tonic::Code;

/// A named put that returns what it replaced, so that a second application would show.
fn put_request(client_id: &[u8], sequence: u64, value: &str) -> PutRequest {
    let request_id = Some(RequestId { client_id: client_id.to_vec().into(), sequence });
    PutRequest { key: "key".into(), value: value.to_owned().into(), request_id, return_previous: true }
}

async fn put(node: &Node, request: &PutRequest) -> PutResponse {
    node.kv()
        .put(request.clone())
        .await
        .unwrap_or_else(|e| panic!("through node {}: {e}", node.id()))
        .into_inner()
}

async fn stored(node: &Node) -> Pair {
    let answer = node.kv().get(GetRequest { key: "key".into(), stale: false }).await.unwrap();
    answer.into_inner().pair.unwrap()
}

/// What must be the same in every answer to the same write.
fn outcome(answer: &PutResponse) -> (u64, Option<Pair>) {
    (answer.header.as_ref().unwrap().revision, answer.previous.clone())
}

/// The same write sent again through every node, many times at once, after the leader was killed,
/// and after all three were: applied once, and answered with the first answer each time. An older
/// one is refused and changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_write_is_applied_once_across_leaders_and_restarts() {
    let _place = beside_others();
    let client_id = Dice::new("dedup").bytes(16);
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let first = put_request(&client_id, 1, "first");
    let second = put_request(&client_id, 2, "second");
    put(&cluster.nodes[0], &first).await;
    let answer = outcome(&put(&cluster.nodes[1], &second).await);
    assert_eq!(answer.1.as_ref().unwrap().value, "first");

    let repeated = |_| join_all(cluster.nodes.iter().map(|node| put(node, &second)));
    for again in join_all((0..20).map(repeated)).await.into_iter().flatten() {
        assert_eq!(outcome(&again), answer);
    }
    let leader = cluster.leader().await;
    cluster.node_mut(leader).kill();
    let heir = cluster.leader().await;
    assert_eq!(outcome(&put(cluster.node(heir), &second).await), answer, "after the leader was killed");
    cluster.kill_all();
    cluster.start_all();
    cluster.all_up().await;
    cluster.leader().await;
    for node in &cluster.nodes {
        assert_eq!(outcome(&put(node, &second).await), answer, "after all were killed");
    }

    let refused = cluster.nodes[0].kv().put(first).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let pair = stored(&cluster.nodes[2]).await;
    assert_eq!((pair.value.as_ref(), pair.version, pair.mod_revision), (&b"second"[..], 2, answer.0));
    cluster.same_state().await;
}

/// The same name sent by 32 clients at once before one has an answer: one of them is applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_in_flight_at_the_same_time_are_applied_once() {
    let _place = beside_others();
    let client_id = Dice::new("dedup, in flight").bytes(16);
    let cluster = Cluster::start(ClusterOptions::default()).await;
    for sequence in 1..=20 {
        let request = put_request(&client_id, sequence, &format!("value {sequence}"));
        let copies = (0..32).map(|n| put(&cluster.nodes[n % 3], &request));
        let answers: Vec<_> = join_all(copies).await.iter().map(outcome).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(stored(&cluster.nodes[0]).await.version, sequence);
    }
}

/// A delete is named in the same way: repeated, it still answers that the key was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_delete_answers_as_the_first() {
    let _place = beside_others();
    let client_id = Dice::new("dedup, delete").bytes(16);
    let cluster = Cluster::start(ClusterOptions::default()).await;
    put(&cluster.nodes[0], &put_request(&client_id, 1, "value")).await;
    let request_id = Some(RequestId { client_id: client_id.into(), sequence: 2 });
    let request = DeleteRequest { key: "key".into(), request_id, return_previous: true };
    for node in &cluster.nodes {
        let answer = node.kv().delete(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.deleted, answer.previous.unwrap().value.as_ref()), (1, &b"value"[..]));
    }
}
