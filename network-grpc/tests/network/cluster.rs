//! Three real nodes over real sockets.
use crate::support::node::{Node, three};
use crate::support::{Blob, eventually};
use bytes::Bytes;
use futures_util::StreamExt;

/// Writes blobs `range` through `leader`, many at a time, each its number.
async fn write(leader: &Node, range: std::ops::Range<u64>) {
    let writes = futures_util::stream::iter(range).map(|n| {
        let blob = Blob(Bytes::copy_from_slice(&n.to_be_bytes()));
        leader.raft.client_write(blob)
    });
    let failures: Vec<_> =
        writes.buffer_unordered(64).filter_map(|r| std::future::ready(r.err())).collect().await;
    assert!(failures.is_empty(), "{failures:?}");
}

async fn agree(a: &Node, b: &Node, len: usize) {
    eventually("both to have applied everything", || async { a.state.len() == len && b.state.len() == len })
        .await;
    assert_eq!(a.state.blobs(), b.state.blobs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_writes_reach_everybody_and_a_killed_follower_catches_up() {
    let mut nodes = three().await;
    write(&nodes[0], 0..1000).await;
    agree(&nodes[0], &nodes[1], 1000).await;
    agree(&nodes[0], &nodes[2], 1000).await;

    let (id, address, log, state) = nodes.remove(2).kill();
    write(&nodes[0], 1000..1500).await;

    let back = Node::start_with(id, &address, log, state).await;
    write(&nodes[0], 1500..1600).await;
    agree(&nodes[0], &back, 1600).await;
    assert_eq!(back.state.installed(), 0, "the log was there, no snapshot needed");
}

/// Found by a run on a busy machine: the new leader was written to before a majority had
/// acknowledged it, and openraft refused every write (`LeaseExpired`). A client has to wait for
/// that, so this test does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced() {
    let mut nodes = three().await;
    write(&nodes[0], 0..100).await;
    nodes.remove(0).kill();
    eventually("a new leader", || async { nodes.iter().any(Node::is_leader) }).await;
    let leader = nodes.iter().find(|node| node.is_leader()).unwrap();
    eventually("its quorum", || leader.leads_a_quorum()).await;
    write(leader, 100..200).await;
    agree(&nodes[0], &nodes[1], 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over() {
    let nodes = three().await;
    write(&nodes[0], 0..10).await;
    nodes[0].raft.trigger().transfer_leader(2).await.unwrap();
    eventually("node 2 to lead", || async { nodes[1].is_leader() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_log_is_gone_catches_up_by_snapshot() {
    let mut nodes = three().await;
    write(&nodes[0], 0..10).await;
    let (id, address, log, state) = nodes.remove(2).kill();

    // Large enough for several chunks, and larger than all the queues between.
    for _ in 0..8 {
        nodes[0].raft.client_write(Blob::of(1024 * 1024)).await.unwrap();
    }
    nodes[0].raft.trigger().snapshot().await.unwrap();
    eventually("the log to be purged", || async { nodes[0].log.purged_index() > Some(15) }).await;

    let back = Node::start_with(id, &address, log, state).await;
    write(&nodes[0], 10..20).await;
    agree(&nodes[0], &back, 28).await;
    assert!(back.state.installed() >= 1, "the log was purged");
}
