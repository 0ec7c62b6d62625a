//! The pipelined append stream, driven as openraft drives it, against real nodes and scripted
//! peers.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::node::Node;
use crate::support::scripted::{Scripted, outcome, success};
use crate::support::{Client, TypeConfig, client, entry, leader, log_id, network, ttl};
use futures_util::{Stream, StreamExt};
use network_grpc::{
    MAX_BATCH_BYTES, MAX_ENTRY_BYTES, MAX_INFLIGHT_BYTES, MAX_INFLIGHT_MESSAGES, Observer, Rpc,
};
use openraft::errors::RPCError;
use openraft::network::{RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use openraft::{BasicNode, Vote};
use proto::raft::v1 as pb;
use proto::raft::v1::append_response::Result as Outcome;
use tokio::time::timeout;

type Request = AppendEntriesRequest<TypeConfig>;
type Item = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Entries `first..first + lens.len()` of these lengths, after the one before.
fn request(first: u64, lens: &[usize]) -> Request {
    let entries = lens.iter().zip(first..).map(|(len, index)| entry(index, *len)).collect();
    let prev_log_id = first.checked_sub(1).map(|index| log_id(1, 1, index));
    AppendEntriesRequest { vote: leader(1, 1), prev_log_id, entries, leader_commit: None }
}

async fn run<S>(client: &mut Client, input: S) -> Vec<Item>
where
    S: Stream<Item = Request> + Send + Unpin + 'static,
{
    let answers = client.stream_append(input, ttl(100)).await.unwrap();
    timeout(Duration::from_secs(30), answers.collect()).await.expect("the stream hangs")
}

/// The index that the answer acknowledges.
fn acked(item: &Item) -> u64 {
    item.as_ref().unwrap().as_ref().unwrap().unwrap().index
}

/// Answers every message with what `answer` makes of its number, and keeps the messages.
async fn answering(
    answer: impl Fn(usize) -> pb::AppendResponse + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<pb::AppendRequest>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let messages = Arc::clone(&seen);
    let answer = Arc::new(answer);
    let peer = Scripted::streaming(move |stream| {
        let (messages, answer) = (Arc::clone(&messages), Arc::clone(&answer));
        Box::pin(stream.map(move |message| {
            let mut messages = messages.lock().unwrap();
            messages.push(message?);
            Ok(answer(messages.len() - 1))
        }))
    });
    (peer.serve().await, seen)
}

#[tokio::test]
async fn a_large_request_is_cut_and_acknowledged_once() {
    let (address, seen) = answering(|_| success()).await;
    let lens = [300 * 1024; 10];
    let input = futures_util::stream::iter([request(0, &lens), request(10, &[10])]);
    let items = run(&mut client(&address).await, input).await;
    assert_eq!(items.iter().map(acked).collect::<Vec<_>>(), [9, 10]);

    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 5, "3 + 3 + 3 + 1 entries, then the small request");
    assert!(seen[0].header.is_some() && seen[1..].iter().all(|m| m.header.is_none()));
    let mut last = Vec::new();
    for message in seen.iter() {
        let bytes: usize = message.entries.iter().map(bytes::Bytes::len).sum();
        assert!(bytes <= MAX_BATCH_BYTES);
        assert_eq!(message.prev_log_id, last, "every message follows the one before");
        let entry: openraft::type_config::alias::EntryOf<TypeConfig> =
            codec::decode(message.entries.last().unwrap()).unwrap();
        last = codec::encode(&entry.log_id).unwrap();
    }
}

#[tokio::test]
async fn a_real_node_stores_what_was_cut() {
    let node = Node::start(2).await;
    let mut client = client(&node.address).await;
    let lens = [300 * 1024; 40];
    let input = futures_util::stream::iter([request(0, &lens), request(40, &[]), request(40, &[5])]);
    let items = run(&mut client, input).await;
    assert_eq!(items.iter().map(acked).collect::<Vec<_>>(), [39, 39, 40]);
}

#[tokio::test]
async fn the_largest_entry_travels_alone_and_a_larger_one_is_an_error() {
    let node = Node::start(2).await;
    let mut client = client(&node.address).await;
    let overhead = codec::encode(&entry(1, 1 << 20)).unwrap().len() - (1 << 20);
    // Its log id and lengths are claimed at full width when it is decoded.
    let largest = MAX_ENTRY_BYTES - overhead - 64;
    let input = futures_util::stream::iter([request(0, &[10, largest, 10])]);
    let items = run(&mut client, input).await;
    assert_eq!(items.iter().map(acked).collect::<Vec<_>>(), [2]);

    let input = futures_util::stream::iter([request(3, &[10, 10, MAX_ENTRY_BYTES, 10])]);
    let items = run(&mut client, input).await;
    assert_eq!(acked(&items[0]), 4, "what precedes it is acknowledged");
    let error = items[1].as_ref().unwrap_err();
    assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
    assert!(format!("{error:?}").contains("log entry 5"), "{error:?}");
    assert_eq!(items.len(), 2);
}

#[tokio::test]
async fn conflict_higher_vote_and_partial_success_end_the_stream() {
    let higher = codec::encode(&leader(5, 3)).unwrap();
    let partial = codec::encode(&log_id(1, 1, 11)).unwrap();
    let conflict = Outcome::Conflict(pb::AppendConflict {});
    let partial = Outcome::Success(pb::AppendSuccess { partial_up_to: partial.into() });
    for last in [conflict, Outcome::HigherVote(higher.into()), partial] {
        let scripted = last.clone();
        let (address, _) =
            answering(move |n| if n == 1 { outcome(scripted.clone()) } else { success() }).await;
        let requests = [request(0, &[1; 10]), request(10, &[1; 5]), request(15, &[1])];
        let items = run(&mut client(&address).await, futures_util::stream::iter(requests)).await;
        assert_eq!(items.len(), 2, "{items:?}");
        assert_eq!(acked(&items[0]), 9);
        match (last, items[1].as_ref().unwrap()) {
            (Outcome::Conflict(_), Err(StreamAppendError::Conflict(at))) => assert_eq!(at.index, 9),
            (Outcome::HigherVote(_), Err(StreamAppendError::HigherVote(v))) => {
                assert_eq!(*v, leader(5, 3));
            }
            (Outcome::Success(_), Ok(Some(stored))) => assert_eq!(stored.index, 11),
            (script, item) => panic!("{script:?} became {item:?}"),
        }
    }
}

#[tokio::test]
async fn answers_that_would_panic_in_openraft_are_errors() {
    let encoded = |vote| codec::encode(&vote).unwrap().into();
    let partial = |index| {
        Outcome::Success(pb::AppendSuccess {
            partial_up_to: codec::encode(&log_id(1, 1, index)).unwrap().into(),
        })
    };
    let nonsense: Vec<(&str, pb::AppendResponse)> = vec![
        ("conflict with the empty log", outcome(Outcome::Conflict(pb::AppendConflict {}))),
        ("no result", pb::AppendResponse { result: None }),
        ("vote that is not higher", outcome(Outcome::HigherVote(encoded(leader(1, 1))))),
        ("vote this node never won", outcome(Outcome::HigherVote(encoded(leader(9, 1))))),
        ("vote this node never asked for", outcome(Outcome::HigherVote(encoded(Vote::new(9, 1))))),
        ("garbage vote", outcome(Outcome::HigherVote(vec![255; 3].into()))),
        ("partial beyond the request", outcome(partial(77))),
    ];
    for (what, answer) in nonsense {
        let scripted = answer.clone();
        let (address, _) = answering(move |_| scripted.clone()).await;
        let input = futures_util::stream::iter([request(0, &[1, 1])]);
        let items = run(&mut client(&address).await, input).await;
        assert_eq!(items.len(), 1, "{what}");
        assert!(matches!(items[0], Err(RPCError::Unreachable(_))), "{what}: {:?}", items[0]);

        let peer =
            Scripted { append: answer, ..Scripted::streaming(|_| Box::pin(futures_util::stream::empty())) };
        let node = BasicNode::new(peer.serve().await);
        let mut heartbeat = network(1).new_heartbeat_client(2, &node).await;
        let input = futures_util::stream::iter([request(0, &[1, 1])]);
        let items = run(&mut heartbeat, input).await;
        assert!(matches!(items[..], [Err(RPCError::Unreachable(_))]), "{what}: {items:?}");
    }
}

#[tokio::test]
async fn what_is_in_flight_is_bounded() {
    for (len, bound) in [(10, MAX_INFLIGHT_MESSAGES), (MAX_BATCH_BYTES, MAX_INFLIGHT_BYTES / MAX_BATCH_BYTES)]
    {
        // Reads everything, answers nothing.
        let peer = Scripted::streaming(|stream| Box::pin(stream.filter_map(|_| std::future::ready(None))));
        let mut client = client(&peer.serve().await).await;
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&taken);
        let endless = futures_util::stream::iter(0..).map(move |n| {
            counter.fetch_add(1, Ordering::Relaxed);
            request(n, &[len])
        });
        let items = run(&mut client, endless).await;
        assert!(matches!(items[..], [Err(RPCError::Unreachable(_))]), "{items:?}");
        let taken = taken.load(Ordering::Relaxed);
        assert!((bound..=bound + 1).contains(&taken), "{taken} requests taken, {bound} allowed");
    }
}

#[tokio::test]
async fn a_slow_input_and_an_idle_stream_are_not_a_timeout() {
    let (address, _) = answering(|_| success()).await;
    let mut client = client(&address).await;
    let input = futures_util::stream::iter(0..3).then(|n| async move {
        tokio::time::sleep(Duration::from_millis(700)).await; // longer than the progress deadline
        request(n, &[1])
    });
    let items = run(&mut client, Box::pin(input)).await;
    assert_eq!(items.iter().map(acked).collect::<Vec<_>>(), [0, 1, 2]);
}

/// The next session must be able to start at once, whatever the peer and the transport do.
#[tokio::test]
async fn dropping_the_answers_drops_the_input_at_once() {
    struct Flag(Arc<AtomicUsize>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let peer = Scripted::streaming(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(futures_util::stream::once(async move {
            let _held = stream; // Never read.
            std::future::pending().await
        }))
    });
    let mut client = client(&peer.serve().await).await;
    for round in 0..20 {
        let begun = Instant::now();
        loop {
            let (before, dropped) = (opened.load(Ordering::SeqCst), Arc::new(AtomicUsize::new(0)));
            let flag = Flag(Arc::clone(&dropped));
            let input = futures_util::stream::iter(0..).map(move |n| {
                let _ = &flag;
                request(n, &[1000])
            });
            let mut answers = client.stream_append(input, ttl(100)).await.unwrap();
            let mut is_given_up = false;
            while !is_given_up && opened.load(Ordering::SeqCst) == before {
                is_given_up = timeout(Duration::from_millis(10), answers.next()).await.is_ok();
            }
            if !is_given_up {
                // Until nothing more has room on its way to a peer that does not read.
                drop(timeout(Duration::from_millis(50), answers.next()).await);
            }
            drop(answers);
            assert_eq!(dropped.load(Ordering::SeqCst), 1, "round {round}");
            if !is_given_up {
                break;
            }
            // Its deadline came before the peer had it: on a busy machine, or for ever.
            let room = begun.elapsed() < Duration::from_secs(20);
            assert!(room, "round {round}: abandoned streams make no room for new ones");
        }
    }
}

/// What an observer was told: RPC, peer, whether it was answered.
#[derive(Default)]
struct Tally(Mutex<Vec<(Rpc, String, bool)>>);

impl Observer for Tally {
    fn rpc(&self, rpc: Rpc, peer: &str, _: Duration, ok: bool) {
        self.0.lock().unwrap().push((rpc, peer.to_owned(), ok));
    }
}

#[tokio::test]
async fn an_observer_sees_every_request_once() {
    let (address, _) = answering(|_| success()).await;
    let tally = Arc::new(Tally::default());
    let mut options = crate::support::options();
    options.observer = Arc::clone(&tally) as Arc<dyn Observer>;
    let mut network = crate::support::Network::new(crate::support::identity(1), options);
    let mut client = network.new_client(2, &BasicNode::new(address)).await;
    let requests = [request(0, &[300 * 1024; 10]), request(10, &[1])];
    run(&mut client, futures_util::stream::iter(requests)).await;
    let input = futures_util::stream::iter([request(0, &[MAX_ENTRY_BYTES])]);
    run(&mut client, input).await;
    let seen = |ok| (Rpc::AppendStream, "2".to_owned(), ok);
    assert_eq!(*tally.0.lock().unwrap(), [seen(true), seen(true), seen(false)]);
}
