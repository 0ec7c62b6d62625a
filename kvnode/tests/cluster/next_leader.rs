//! Attacks requests that wait: those that a follower holds for a leader that answers no more are
//! done when the next leader is known, all together, and not when the old one is given up.

use std::time::{Duration, Instant};

use crate::support::{Cluster, ClusterOptions, beside_others, signal};
use kvcli::ReadMode;
use proto::kv::v1::{GetRequest, PutRequest, RequestId};
use rustix::process::Signal;
use tonic::{Request, Status};

const WAITING: usize = 20;
const DEADLINE: Duration = Duration::from_secs(30);
/// After the next leader has answered its first request. One or two a second would take ten times
/// as long.
const TOGETHER: Duration = Duration::from_secs(3);

/// The leader is frozen: its kernel goes on accepting connections, and nothing answers. Reads, and
/// writes that carry a request id, wait at a follower, some over a connection that was there
/// before, some over a new one. Found: they were let go one or two a second, for 15 s, while the
/// next leader answered fresh requests in 10 ms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_frozen_leader_are_done_once_there_is_another() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.client().put("key", "value").await.unwrap();
    for kept_connection in [true, false] {
        let leader = cluster.leader().await;
        let follower = cluster.followers().await[0];
        if kept_connection {
            put(&cluster, follower, 0).await.unwrap();
        } else {
            cluster.node_mut(follower).restart().await;
        }
        signal(cluster.node(leader).pid(), Signal::STOP);
        let started = Instant::now();
        let reads = (0..WAITING).map(|_| timed(get(&cluster, follower)));
        let writes = (1..=WAITING).map(|n| timed(put(&cluster, follower, n)));
        let (reads, writes, led) = tokio::join!(
            futures_util::future::join_all(reads),
            futures_util::future::join_all(writes),
            first_answer_of_the_next(&cluster, leader),
        );
        let slowest = reads.iter().chain(&writes).map(|(ended, _)| *ended).max().unwrap();
        println!(
            "kept connection {kept_connection}: next leader after {:.2?}, all done after {:.2?}",
            led - started,
            slowest - started
        );
        signal(cluster.node(leader).pid(), Signal::CONT);
        for (_, outcome) in reads.iter().chain(&writes) {
            assert!(outcome.is_ok(), "{outcome:?}");
        }
        assert!(slowest < led + TOGETHER, "the last was done {:?} after the next leader", slowest - led);
        cluster.same_state().await;
    }
}

async fn timed(request: impl Future<Output = Result<(), Status>>) -> (Instant, Result<(), Status>) {
    let outcome = request.await;
    (Instant::now(), outcome)
}

/// When a node other than `old` first confirmed a read as the leader.
async fn first_answer_of_the_next(cluster: &Cluster, old: u64) -> Instant {
    let others: Vec<_> = cluster.nodes.iter().filter(|node| node.id() != old).collect();
    let client = cluster.client_with(DEADLINE);
    loop {
        for node in &others {
            let leads = node.status().await.is_ok_and(|status| status.quorum_acked_ms.is_some());
            if leads && client.get("key", ReadMode::Linearizable).await.is_ok() {
                return Instant::now();
            }
        }
    }
}

async fn get(cluster: &Cluster, at: u64) -> Result<(), Status> {
    let mut request = Request::new(GetRequest { key: "key".into(), stale: false });
    request.set_timeout(DEADLINE);
    cluster.node(at).kv().get(request).await.map(drop)
}

/// Each under a name of its own, so that it may be sent again.
async fn put(cluster: &Cluster, at: u64, n: usize) -> Result<(), Status> {
    let id = RequestId { client_id: rand::random::<[u8; 16]>().to_vec().into(), sequence: 1 };
    let key = format!("key-{n}").into();
    let put = PutRequest { key, value: "x".into(), request_id: Some(id), return_previous: false };
    let mut request = Request::new(put);
    request.set_timeout(DEADLINE);
    cluster.node(at).kv().put(request).await.map(drop)
}
