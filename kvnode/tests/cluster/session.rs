//! Attacks `Kv.Session`: one operation that concerns the others, an operation without an answer or
//! with two, a client that does not read, a node that stops, hangs or dies below a session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::session::{Session, failure, get, operation, put, value_of};
use crate::support::{Cluster, ClusterOptions, Dice, Node, Series, beside_others, signal, wait};
use kvcli::{Client, ClientOptions};
use proto::kv::v1::operation::Request as Asked;
use proto::kv::v1::operation_response::Response as Answer;
use proto::kv::v1::{
    DeleteRequest, GetRequest, Operation, OperationResponse, PutRequest, RequestId, ScanRequest,
    SessionRequest,
};
use rustix::process::Signal;
use tonic::{Code, Request};

/// For anything that a node does by itself.
const SOON: Duration = Duration::from_secs(20);
/// As the protocol says.
const MAX_UNDER_WAY: u64 = 1024;

/// Through the leader and through a follower: a thousand operations of all kinds in one message,
/// some of them wrong. Each is answered once, the wrong ones with the code of a call of its own,
/// and writes to one key are applied in the order in which they stand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_has_its_own_answer() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let leader = cluster.leader().await;
    for id in [leader, cluster.followers().await[0]] {
        let mut session = Session::open(cluster.node(id)).await;
        let asked = |id: u64| match id % 5 {
            0 => put("", "no key"),
            1 => Asked::Get(GetRequest { key: vec![b'k'; 5000].into(), stale: false }),
            2 => Asked::Delete(DeleteRequest { key: "absent".into(), ..DeleteRequest::default() }),
            3 => put("key", id.to_string()),
            _ => get("key"),
        };
        session.send((0..1000).map(|id| operation(id, asked(id)))).await;
        for (id, answer) in session.answers(1000).await {
            match id % 5 {
                0 | 1 => {
                    let failure = failure(&answer);
                    assert_eq!(failure.code, Code::InvalidArgument as u32, "{failure:?}");
                    assert!(failure.not_applied);
                }
                2 => assert!(matches!(answer, Answer::Delete(answer) if answer.deleted == 0)),
                3 => assert!(matches!(answer, Answer::Put(_)), "{answer:?}"),
                _ => drop(value_of(&answer)),
            }
        }
        if id == leader {
            assert_eq!(value_of(&session.ask(get("key")).await), Some(&b"998"[..]), "the last put");
        }
        assert_eq!(failure(&session.ask_nothing().await).code, Code::InvalidArgument as u32);
    }
}

/// The first message says who answers, and which cluster it is; a failed write says that it was not
/// applied, and the same name is applied once over a session and a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_says_what_calls_say() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let leader = cluster.leader().await;
    let client_id = Dice::new("session").bytes(16);
    let named = |sequence, value: &str| PutRequest {
        key: "key".into(),
        value: value.to_owned().into(),
        request_id: Some(RequestId { client_id: client_id.clone().into(), sequence }),
        return_previous: true,
    };
    let mut session = Session::open(cluster.node(leader)).await;
    session.send([operation(1, Asked::Put(named(2, "value")))]).await;
    let message = session.message().await.unwrap().unwrap();
    let header = message.header.clone().expect("the first message has a header");
    assert_eq!((header.cluster_id.len(), header.node_id, header.leader_id), (32, leader, leader));
    assert_eq!(header.leader_addr, cluster.node(leader).client_addr());
    let Some(Answer::Put(first)) = message.responses[0].response.clone() else { panic!("{message:?}") };
    let revision = first.header.expect("it has a revision").revision;

    let again = cluster.nodes[0].kv().put(named(2, "again")).await.unwrap().into_inner();
    assert_eq!((again.header.unwrap().revision, again.previous), (revision, None));
    let older = session.ask(Asked::Put(named(1, "older"))).await;
    assert_eq!(failure(&older).code, Code::FailedPrecondition as u32, "{older:?}");
    assert_eq!(value_of(&session.ask(get("key")).await), Some(&b"value"[..]));

    let mut meant = Request::new(tokio_stream::empty());
    meant.metadata_mut().insert("node-cluster-id", "0123456789abcdef0123456789abcdef".parse().unwrap());
    let refused = cluster.nodes[0].kv().session(meant).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert_eq!(refused.metadata().get("node-not-applied").unwrap(), "1");
}

/// A scan comes in parts among other answers, can be ended, and ends with a part without pairs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_runs_beside_other_operations() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let mut session = Session::open(&cluster.nodes[0]).await;
    let pairs = 3000;
    for from in (0..pairs).step_by(500) {
        let puts = (from..from + 500).map(|n| operation(n, put(&format!("key {n:05}"), vec![b'v'; 2000])));
        session.send(puts).await;
        session.answers(500).await;
    }
    let scan = |limit| Asked::Scan(ScanRequest { prefix: "key".into(), limit, ..ScanRequest::default() });
    session.send([operation(1, scan(0)), operation(2, get("key 00007"))]).await;
    let (mut keys, mut others, mut ended) = (BTreeSet::new(), 0, false);
    while !ended || others == 0 {
        for OperationResponse { id, response } in session.message().await.unwrap().unwrap().responses {
            match response.unwrap() {
                Answer::Scan(part) => {
                    assert!(!ended, "a part after the last one");
                    ended = part.pairs.is_empty();
                    keys.extend(part.pairs.into_iter().map(|pair| pair.key));
                }
                answer => {
                    assert_eq!((id, value_of(&answer).map(<[u8]>::len)), (2, Some(2000)));
                    others += 1;
                }
            }
        }
    }
    assert_eq!((keys.len() as u64, others), (pairs, 1));

    // One that is not read fills the window and waits; it is ended, and the session goes on.
    session.send([operation(3, scan(0)), operation(3, Asked::CancelScan(3))]).await;
    session.send([operation(4, get("key 00008"))]).await;
    wait::until("the get is answered", SOON, async || {
        let message = session.message().await.unwrap().unwrap();
        wait::is(message.responses.iter().any(|answer| answer.id == 4), || {
            "only parts of the scan".to_owned()
        })
    })
    .await;
}

/// A client that sends ten times what may be under way and reads nothing: the node stops reading,
/// holds no more than what is under way, and all of it is answered once the client reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_not_read_from() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let node = &cluster.nodes[0];
    let mut session = Session::open(node).await;
    let value = vec![b'v'; 64 * 1024];
    session.ask(put("large", value.clone())).await;
    let before = resident_mib(node.pid());
    let (operations, total) = (session.operations.clone(), 10 * MAX_UNDER_WAY);
    let sender = tokio::spawn(async move {
        for from in (0..total).step_by(64) {
            let some = (from..from + 64).map(|id| operation(id, get("large"))).collect();
            operations.send(SessionRequest { operations: some }).await.unwrap();
        }
    });
    // All that the node could hold would be 640 MiB; what may be under way and wait is 72.
    wait::holds_for("the node holds little", Duration::from_secs(3), async || {
        let grown = resident_mib(node.pid()).saturating_sub(before);
        wait::is(grown < 300, || format!("{grown} MiB more than before"))
    })
    .await;
    let (_, series) = node.http("/metrics").await.unwrap();
    let read = Series::parse(&series).sum("kv_requests_total", &["op=\"get\""]);
    assert!(read < 3.0 * MAX_UNDER_WAY as f64, "the node has read {read} of {total}");
    let answers = session.answers(total as usize).await;
    assert!(answers.values().all(|answer| value_of(answer) == Some(&value)));
    sender.await.unwrap();
}

fn resident_mib(pid: u32) -> u64 {
    memory_mib(pid, "VmRSS")
}

fn peak_mib(pid: u32) -> u64 {
    memory_mib(pid, "VmHWM")
}

fn memory_mib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Two bytes are an empty operation, and some two hundred once they are decoded: a message of four
/// megabytes would take four hundred of memory, on each stream. It is refused while it is read, and
/// what the session had begun before is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_countless_operations_is_refused() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let node = &cluster.nodes[0];
    let before = peak_mib(node.pid());
    for _ in 0..3 {
        let mut session = Session::open(node).await;
        session.ask(put("key", "value")).await;
        session.send(vec![Operation::default(); 1_900_000]).await;
        let refused = session.message().await.unwrap_err();
        assert!(refused.message().contains("1024"), "{refused}");
    }
    let grown = peak_mib(node.pid()) - before;
    assert!(grown < 64, "{grown} MiB more than before");
    assert_eq!(value_of(&Session::open(node).await.ask(get("key")).await), Some(&b"value"[..]));
}

/// A node that stops says so to every session, answers what it is sent until the client ends its
/// side, and does not wait for a client that does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_ends_its_sessions() {
    let _place = beside_others();
    // It gives them 1 s, and requests of another kind 5 s.
    wait::is_quick_once("a node with sessions ends", Duration::from_secs(4), stop_with_sessions).await;
}

/// How long it takes.
async fn stop_with_sessions() -> Duration {
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let id = cluster.leader().await;
    let (mut attentive, mut idle) =
        (Session::open(cluster.node(id)).await, Session::open(cluster.node(id)).await);
    idle.ask(put("key", "value")).await;
    attentive.ask(get("key")).await;
    signal(cluster.node(id).pid(), Signal::TERM);
    let begun = Instant::now();
    while !attentive.message().await.unwrap().expect("it is told first").going_away {}
    attentive.send((0..10).map(|id| operation(id, put("key", "late")))).await;
    let late = attentive.answers(10).await;
    let fits = |answer: &Answer| match answer {
        Answer::Put(_) => true,
        answer => failure(answer).not_applied,
    };
    assert!(late.values().all(fits), "{late:?}");
    drop(attentive.operations);
    while let Ok(Some(_)) = attentive.answers.message().await {}
    // The idle one never ends its side.
    while let Ok(Some(_)) = idle.message().await {}
    wait::until("the node has ended", SOON, async || {
        let status = cluster.node_mut(id).exit_status().ok_or("it runs")?;
        wait::is(status.success(), || status.to_string())
    })
    .await;
    begun.elapsed()
}

/// A leader that loses its followers: every operation of a session is answered within its own
/// time, the writes with an unknown outcome or the proof that they were not applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_end_in_time_without_a_quorum() {
    let _place = beside_others();
    // Without a time of their own they would wait 4 s for a leader.
    wait::is_quick_once("operations of 500 ms end", Duration::from_secs(2), operations_without_a_quorum)
        .await;
}

/// How long they take.
async fn operations_without_a_quorum() -> Duration {
    let mut cluster = Cluster::start(ClusterOptions::default()).await;
    let leader = cluster.leader().await;
    let mut session = Session::open(cluster.node(leader)).await;
    session.ask(put("key", "value")).await;
    for follower in cluster.followers().await {
        cluster.node_mut(follower).kill();
    }
    let begun = Instant::now();
    let timed = |id| Operation {
        timeout_ms: 500,
        ..operation(id, if id % 2 == 0 { put("key", "other") } else { get("key") })
    };
    session.send((0..20).map(timed)).await;
    for (id, answer) in session.answers(20).await {
        let failure = failure(&answer);
        let known = [Code::DeadlineExceeded as u32, Code::Unavailable as u32];
        assert!(known.contains(&failure.code), "operation {id}: {failure:?}");
    }
    begun.elapsed()
}

/// A leader is frozen, another one is elected and answers a write, and the frozen one finds gets in
/// its sockets when it goes on: it takes itself for the leader, and must not answer from what it
/// has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_frozen_answers_nothing_old() {
    let _place = beside_others();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    for round in 0..3 {
        let frozen = cluster.leader().await;
        let mut session = Session::open(cluster.node(frozen)).await;
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        session.ask(put("key", old)).await;
        signal(cluster.node(frozen).pid(), Signal::STOP);
        let others = cluster.nodes.iter().filter(|node| node.id() != frozen).map(Node::client_addr);
        let options = ClientOptions { timeout: SOON, ..ClientOptions::default() };
        let client = Client::connect(others.collect::<Vec<_>>(), options).unwrap();
        client.put("key", new.clone()).await.unwrap();
        session.send((0..50).map(|id| operation(id, get("key")))).await;
        signal(cluster.node(frozen).pid(), Signal::CONT);
        for (id, answer) in session.answers(50).await {
            match &answer {
                Answer::Failure(failure) => assert!(failure.not_applied, "operation {id}: {failure:?}"),
                answer => assert_eq!(value_of(answer), Some(new.as_bytes()), "operation {id}"),
            }
        }
    }
}

/// Sessions that have nothing under way give their places to others, and one that has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_make_room_for_other_connections() {
    let _place = beside_others();
    let options =
        ClusterOptions { nodes: 1, ulimits: vec!["-n 256".to_owned()], ..ClusterOptions::default() };
    let cluster = Cluster::start(options).await;
    let node = &cluster.nodes[0];
    let mut sessions = Vec::new();
    // A node with so few files has 32 places for clients.
    for n in 0..50 {
        let mut session = Session::open(node).await;
        session.ask(put(&format!("key {n}"), "value")).await;
        sessions.push(session);
    }
    let mut open = 0;
    for session in &mut sessions {
        let next = tokio::time::timeout(Duration::from_millis(1), session.answers.message()).await;
        open += usize::from(next.is_err());
    }
    assert!((1..50).contains(&open), "{open} of 50 sessions are open");
}
