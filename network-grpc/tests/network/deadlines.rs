//! Peers that are away, silent or slow: nothing hangs, nothing hammers, heartbeats get through.
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::scripted::Scripted;
use crate::support::{TypeConfig, client, entry, leader, log_id, network, ttl};
use futures_util::StreamExt;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError};
use openraft::network::{RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use openraft::storage::Snapshot;
use openraft::type_config::alias::SnapshotOf;
use openraft::{BasicNode, SnapshotMeta, Vote};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// What has a deadline of less than a second ends within this on a busy machine, too; what has none
/// never ends.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

fn append(index: u64, len: usize) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: leader(1, 1),
        prev_log_id: index.checked_sub(1).map(|index| log_id(1, 1, index)),
        entries: vec![entry(index, len)],
        leader_commit: None,
    }
}

fn heartbeat() -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest { entries: vec![], ..append(0, 0) }
}

fn candidate() -> VoteRequest<TypeConfig> {
    VoteRequest::new(Vote::new(3, 1), None)
}

fn snapshot(len: usize) -> SnapshotOf<TypeConfig, Cursor<Vec<u8>>> {
    let meta = SnapshotMeta { last_log_id: Some(log_id(1, 1, 5)), ..SnapshotMeta::default() };
    Snapshot { meta, snapshot: Cursor::new(vec![9; len]) }
}

/// Accepts connections and does `hang_up` or nothing with them; counts them.
async fn black_hole(hang_up: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            if !hang_up {
                held.push(socket);
            }
        }
    });
    (address, accepted)
}

/// An address where no process listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_silent_peer_is_an_error_within_the_deadline() {
    let (address, _) = black_hole(false).await;
    let mut client = client(&address).await;

    let input = futures_util::stream::iter(0..).map(|n| append(n, 1000));
    let answers = client.stream_append(input, ttl(100)).await.unwrap();
    let items: Vec<_> = timeout(ENDS_WITHIN, answers.collect()).await.expect("hangs");
    assert!(matches!(items[..], [Err(RPCError::Unreachable(_))]), "{items:?}");

    let asked = async {
        client.vote(candidate(), ttl(200)).await.unwrap_err();
        client.pre_vote(candidate(), ttl(200)).await.unwrap_err();
        client.append_entries(heartbeat(), ttl(200)).await.unwrap_err();
    };
    timeout(ENDS_WITHIN, asked).await.expect("hangs");
}

#[tokio::test]
async fn a_silent_peer_stops_a_snapshot_by_progress_not_by_size() {
    for len in [10, 64 * 1024 * 1024] {
        let (address, _) = black_hole(false).await;
        let mut client = client(&address).await;
        let started = Instant::now();
        let sending = client.full_snapshot(leader(1, 1), snapshot(len), std::future::pending(), ttl(1));
        let error = timeout(ENDS_WITHIN, sending).await.expect("hangs").unwrap_err();
        let retry = matches!(error, StreamingError::Unreachable(_) | StreamingError::Network(_));
        assert!(retry, "{error:?}");
        assert!(started.elapsed() > Duration::from_millis(500), "not the option's 1 ms: {error}");
    }
}

#[tokio::test]
async fn a_snapshot_is_cancelled() {
    let (address, _) = black_hole(false).await;
    let mut client = client(&address).await;
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ReplicationClosed::new("test")
    };
    // Not cancelled, it would end as another error.
    let error = client.full_snapshot(leader(1, 1), snapshot(10), cancel, ttl(1)).await.unwrap_err();
    assert!(matches!(error, StreamingError::Closed(_)), "{error:?}");
}

#[tokio::test]
async fn an_absent_peer_is_unreachable_at_once_and_found_when_it_comes() {
    let address = nobody().await;
    let mut client = client(&address).await;
    let started = Instant::now();
    for n in 0..20 {
        let input = futures_util::stream::iter([append(n, 1)]);
        let items: Vec<_> = client.stream_append(input, ttl(100)).await.unwrap().collect().await;
        assert!(matches!(items[..], [Err(RPCError::Unreachable(_))]), "{items:?}");
    }
    // Each that waited for its deadline of 500 ms would make it ten seconds.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());

    let node =
        crate::support::node::Node::start_with(2, &address, Default::default(), Default::default()).await;
    crate::support::eventually("the node to answer", || async {
        let mut client = crate::support::client(&node.address).await;
        client.append_entries(heartbeat(), ttl(1000)).await.is_ok()
    })
    .await;
    let started = Instant::now();
    while client.append_entries(heartbeat(), ttl(1000)).await.is_err() {
        assert!(started.elapsed() < ENDS_WITHIN, "it is not dialled again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_not_dialled_in_a_loop() {
    let (address, accepted) = black_hole(true).await;
    let mut client = client(&address).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        client.vote(candidate(), ttl(500)).await.unwrap_err();
    }
    let dials = accepted.load(Ordering::Relaxed);
    // A loop would make thousands, and a busy machine may have come to few calls.
    assert!((1..=60).contains(&dials), "{dials} dials in a second");
}

#[tokio::test]
async fn nothing_is_dialled_before_it_is_needed_and_connections_are_shared() {
    let (address, accepted) = black_hole(false).await;
    let node = BasicNode::new(&address);
    let mut network = network(1);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(network.new_client(2, &node).await);
        network.new_heartbeat_client(2, &node).await;
        network.new_snapshot_client(2, &node).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 0);
    for client in &mut clients {
        client.vote(candidate(), ttl(20)).await.unwrap_err();
    }
    crate::support::eventually("a connection", || async { accepted.load(Ordering::Relaxed) > 0 }).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(accepted.load(Ordering::Relaxed), 1, "ten clients, one connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_do_not_wait_behind_bulk_data() {
    // Never reads its append streams: the replication connection fills up and stays full.
    let peer = Scripted::streaming(|stream| {
        Box::pin(futures_util::stream::once(async move {
            let _held = stream;
            std::future::pending().await
        }))
    });
    let node = BasicNode::new(peer.serve().await);
    let mut network = network(1);
    let mut bulk = network.new_client(2, &node).await;
    let mut heartbeats = network.new_heartbeat_client(2, &node).await;
    heartbeats.append_entries(heartbeat(), ttl(5000)).await.unwrap();

    let stuck = tokio::spawn(async move {
        let mut failures = 0;
        loop {
            let input = futures_util::stream::iter(0..).map(|n| append(n, 8 * 1024 * 1024));
            let answers = bulk.stream_append(input, ttl(100)).await.unwrap();
            failures += answers.filter(|item| std::future::ready(item.is_err())).count().await;
            assert!(failures < 1000, "the blocked stream fails in a loop");
        }
    });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let input = futures_util::stream::iter([heartbeat()]);
        let sent = Instant::now();
        let items: Vec<_> = heartbeats.stream_append(input, ttl(5000)).await.unwrap().collect().await;
        // Behind data that the peer does not read they would wait for ever.
        assert!(matches!(items[..], [Ok(Ok(_))]), "after {:?}: {items:?}", sent.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!stuck.is_finished());
    stuck.abort();
    let answer = heartbeats.append_entries(heartbeat(), ttl(5000)).await.unwrap();
    assert!(matches!(answer, AppendEntriesResponse::Success));
}

#[tokio::test]
async fn an_idle_stream_ends_when_its_node_stops() {
    let node = crate::support::node::Node::start(2).await;
    let mut client = client(&node.address).await;
    let input = futures_util::stream::iter([append(0, 1)]).chain(futures_util::stream::pending());
    let mut answers = client.stream_append(Box::pin(input), ttl(100)).await.unwrap();
    assert!(answers.next().await.unwrap().is_ok());
    node.raft.shutdown().await.unwrap();
    let item = timeout(ENDS_WITHIN, answers.next()).await.expect("the stream outlives raft");
    assert!(item.is_some_and(|item| item.is_err()));
}

#[test]
fn the_retry_pause_grows_and_is_capped() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let client = runtime.block_on(client("127.0.0.1:1"));
    let pauses: Vec<_> = client.backoff().unwrap().take(6).map(|p| p.as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
}
