//! What a node refuses, RPC by RPC, and that refusing leaves it whole.
use std::collections::BTreeSet;
use std::io::Cursor;

use crate::support::node::Node;
use crate::support::state_machine::StateMachine;
use crate::support::{CLUSTER, TypeConfig, entry, leader, log_id, ttl};
use futures_util::{FutureExt, StreamExt};
use network_grpc::{ClusterId, Incarnation, LocalIdentity, MemberIdentity};
use openraft::entry::RaftEntry;
use openraft::errors::{RPCError, StreamingError};
use openraft::network::{RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::storage::RaftSnapshotBuilder;
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, VoteOf};
use openraft::{BasicNode, EntryPayload, Membership, SnapshotMeta, Vote};
use proto::raft::v1 as pb;
use proto::raft::v1::raft_client::RaftClient;
use proto::raft::v1::snapshot_chunk::Part;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tonic::transport::Channel;
use tonic::{Code, Status};

type Peer = RaftClient<Channel>;

const OTHER: ClusterId = ClusterId::from_bits(8);

async fn dial(node: &Node) -> Peer {
    RaftClient::connect(format!("http://{}", node.address)).await.unwrap()
}

fn encode<T: Serialize>(value: &T) -> bytes::Bytes {
    codec::encode(value).unwrap().into()
}

/// From node 1, which like node 2 has no incarnation.
fn header(cluster: ClusterId, target: u64) -> Option<pb::Header> {
    Some(pb::Header {
        cluster_id: cluster.to_bytes(),
        target: encode(&target),
        sender: encode(&1_u64),
        ..pb::Header::default()
    })
}

fn for_node_2() -> Option<pb::Header> {
    header(CLUSTER, 2)
}

fn append(header: Option<pb::Header>) -> pb::AppendRequest {
    pb::AppendRequest { header, vote: encode(&leader(1, 1)), ..pb::AppendRequest::default() }
}

fn candidate() -> VoteRequest<TypeConfig> {
    VoteRequest::new(Vote::new(3, 1), None)
}

async fn stream_append(peer: &mut Peer, messages: Vec<pb::AppendRequest>) -> Result<(), Status> {
    let mut answers = peer.stream_append(futures_util::stream::iter(messages)).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

async fn install(peer: &mut Peer, parts: Vec<Part>) -> Result<pb::SnapshotResponse, Status> {
    let chunks = parts.into_iter().map(|part| pb::SnapshotChunk { part: Some(part) });
    let chunks: Vec<_> = chunks.collect();
    Ok(peer.install_snapshot(futures_util::stream::iter(chunks)).await?.into_inner())
}

/// Every RPC with this header and otherwise valid content.
async fn all_rpcs(peer: &mut Peer, header: Option<pb::Header>) -> Vec<(&'static str, Option<Status>)> {
    let vote = pb::VoteRequest { header: header.clone(), body: encode(&candidate()) };
    let transfer = TransferLeaderRequest::<TypeConfig>::new(leader(1, 1), 3, None);
    let transfer = pb::TransferLeaderRequest { header: header.clone(), body: encode(&transfer) };
    let begin = Part::Begin(begin(header.clone(), &meta(1, 5)));
    vec![
        ("append", peer.append(append(header.clone())).await.err()),
        ("stream_append", stream_append(peer, vec![append(header)]).await.err()),
        ("vote", peer.vote(vote.clone()).await.err()),
        ("pre_vote", peer.pre_vote(vote).await.err()),
        ("transfer_leader", peer.transfer_leader(transfer).await.err()),
        ("install_snapshot", install(peer, vec![begin]).await.err()),
    ]
}

fn meta(term: u64, index: u64) -> SnapshotMetaOf<TypeConfig> {
    SnapshotMeta { last_log_id: Some(log_id(term, 1, index)), ..SnapshotMeta::default() }
}

fn begin(header: Option<pb::Header>, meta: &SnapshotMetaOf<TypeConfig>) -> pb::SnapshotHeader {
    pb::SnapshotHeader { header, vote: encode(&leader(1, 1)), meta: encode(meta) }
}

/// The node still follows a leader.
async fn alive(node: &Node, peer: &mut Peer) {
    let request = pb::AppendRequest { vote: encode(&leader(900, 1)), ..append(for_node_2()) };
    let answer = peer.append(request).await.unwrap().into_inner();
    assert!(matches!(answer.result, Some(pb::append_response::Result::Success(_))), "{answer:?}");
    assert!(node.raft.is_initialized().await.is_ok());
}

/// A node whose certificate is of another node than the one it claims to be is refused by every
/// RPC, and one whose certificate fits is heard.
#[tokio::test]
async fn the_sender_is_whom_its_certificate_is_of() {
    let node = Node::start_certified(2, 3).await;
    for (rpc, refused) in all_rpcs(&mut dial(&node).await, for_node_2()).await {
        let status = refused.unwrap_or_else(|| panic!("{rpc} was accepted"));
        assert_eq!(status.code(), Code::PermissionDenied, "{rpc}: {status:?}");
        assert!(
            status.message().contains("node 1, and the certificate it came with is of node 3"),
            "{status:?}"
        );
    }
    let node = Node::start_certified(2, 1).await;
    alive(&node, &mut dial(&node).await).await;
}

#[tokio::test]
async fn the_wrong_cluster_and_the_wrong_node_are_refused_by_every_rpc() {
    let node = Node::start(2).await;
    let mut peer = dial(&node).await;
    let copied = Incarnation::random(0).to_bytes();
    let copied = for_node_2().map(|header| pb::Header { target_incarnation: copied, ..header });
    for wrong in [header(OTHER, 2), header(CLUSTER, 3), copied] {
        for (rpc, status) in all_rpcs(&mut peer, wrong.clone()).await {
            let status = status.unwrap_or_else(|| panic!("{rpc} accepted {wrong:?}"));
            assert_eq!(status.code(), Code::FailedPrecondition, "{rpc}: {status}");
            let text = status.message();
            assert!(text.contains("this is node 2"), "{rpc}: {text}");
            let theirs = [
                format!("node 2 of cluster {OTHER}"),
                format!("node 3 of cluster {CLUSTER}"),
                "node 2 with the data directory".to_owned(),
            ];
            assert!(theirs.iter().any(|t| text.contains(t)), "{rpc}: {text}");
        }
    }
    for (rpc, status) in all_rpcs(&mut peer, None).await {
        assert_eq!(status.map(|s| s.code()), Some(Code::InvalidArgument), "{rpc} without header");
    }
    alive(&node, &mut peer).await;
}

#[tokio::test]
async fn a_client_of_the_wrong_cluster_is_told_to_back_off() {
    let node = Node::start(2).await;
    let other = LocalIdentity::member_of(1, MemberIdentity { cluster_id: OTHER, incarnation: None });
    let mut network =
        network_grpc::GrpcNetwork::<TypeConfig, Cursor<Vec<u8>>>::new(other, crate::support::options());
    let at = BasicNode::new(&node.address);
    let mut client = network.new_client(2, &at).await;
    let request = AppendEntriesRequest::<TypeConfig> {
        vote: leader(1, 1),
        prev_log_id: None,
        entries: vec![],
        leader_commit: None,
    };

    let error = client.vote(candidate(), ttl(1000)).await.unwrap_err();
    assert!(
        matches!(error, RPCError::Unreachable(_)) && error.to_string().contains(&OTHER.to_string()),
        "{error}"
    );
    let error = client.append_entries(request.clone(), ttl(1000)).await.unwrap_err();
    assert!(matches!(error, RPCError::Unreachable(_)), "{error}");
    let input = futures_util::stream::iter([request]);
    let items: Vec<_> = client.stream_append(input, ttl(1000)).await.unwrap().collect().await;
    assert!(matches!(items[..], [Err(RPCError::Unreachable(_))]), "{items:?}");

    let snapshot = StateMachine::default().build_snapshot().await.unwrap();
    let never = std::future::pending();
    let error = client.full_snapshot(leader(1, 1), snapshot, never, ttl(1000)).await.unwrap_err();
    assert!(matches!(error, StreamingError::Unreachable(_)), "{error}");
}

/// Random bytes that are not accidentally a valid `T`.
fn garbage<T: serde::de::DeserializeOwned>(rng: &mut StdRng) -> bytes::Bytes {
    loop {
        let len = rng.random_range(1..64);
        let bytes: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        if codec::decode::<T>(&bytes).is_err() {
            return bytes.into();
        }
    }
}

#[tokio::test]
async fn garbage_in_any_field_of_any_rpc_is_an_error() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let node = Node::start(2).await;
    let mut peer = dial(&node).await;
    type Id = LogIdOf<TypeConfig>;
    type V = VoteOf<TypeConfig>;
    for _ in 0..200 {
        let rng = &mut rng;
        let good = for_node_2().unwrap();
        let headers = [
            pb::Header { target: garbage::<u64>(rng), ..good.clone() },
            pb::Header { sender: garbage::<u64>(rng), ..good.clone() },
            pb::Header { cluster_id: vec![7; rng.random_range(0..16)].into(), ..good.clone() },
            pb::Header { target_incarnation: vec![7; rng.random_range(17..64)].into(), ..good.clone() },
            pb::Header { sender_incarnation: vec![7; rng.random_range(1..16)].into(), ..good },
        ];
        for header in headers {
            for (rpc, status) in all_rpcs(&mut peer, Some(header)).await {
                assert_eq!(status.map(|s| s.code()), Some(Code::InvalidArgument), "{rpc}");
            }
        }
        let good = append(for_node_2());
        let appends = [
            pb::AppendRequest { vote: garbage::<V>(rng), ..good.clone() },
            pb::AppendRequest { prev_log_id: garbage::<Id>(rng), ..good.clone() },
            pb::AppendRequest { leader_commit: garbage::<Id>(rng), ..good.clone() },
            pb::AppendRequest { entries: vec![garbage::<EntryOf<TypeConfig>>(rng)], ..good.clone() },
        ];
        for bad in appends {
            let status = peer.append(bad.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{bad:?}");
            let status = stream_append(&mut peer, vec![good.clone(), bad.clone()]).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{bad:?}");
        }
        let body = garbage::<VoteRequest<TypeConfig>>(rng);
        let vote = pb::VoteRequest { header: for_node_2(), body };
        assert_eq!(peer.vote(vote.clone()).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(peer.pre_vote(vote).await.unwrap_err().code(), Code::InvalidArgument);
        let body = garbage::<TransferLeaderRequest<TypeConfig>>(rng);
        let transfer = pb::TransferLeaderRequest { header: for_node_2(), body };
        let status = peer.transfer_leader(transfer).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let good = begin(for_node_2(), &meta(1, 5));
        let begins = [
            pb::SnapshotHeader { vote: garbage::<V>(rng), ..good.clone() },
            pb::SnapshotHeader { meta: garbage::<SnapshotMetaOf<TypeConfig>>(rng), ..good.clone() },
        ];
        for bad in begins {
            let status = install(&mut peer, vec![Part::Begin(bad)]).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
        }
    }
    alive(&node, &mut peer).await;
}

#[tokio::test]
async fn well_formed_appends_that_would_damage_openraft_are_refused() {
    let node = Node::start(2).await;
    let mut peer = dial(&node).await;
    let entries = |ids: &[(u64, u64)]| -> Vec<bytes::Bytes> {
        let blank = |(term, index): &(u64, u64)| {
            encode::<EntryOf<TypeConfig>>(&RaftEntry::new(log_id(*term, 1, *index), EntryPayload::Blank))
        };
        ids.iter().map(blank).collect()
    };
    let membership = |m: Membership<u64, BasicNode>| {
        vec![encode::<EntryOf<TypeConfig>>(&RaftEntry::new(log_id(1, 1, 0), EntryPayload::Membership(m)))]
    };
    let no_node: Membership<u64, BasicNode> = codec::decode(
        &codec::encode(&(vec![BTreeSet::from([1_u64])], std::collections::BTreeMap::<u64, BasicNode>::new()))
            .unwrap(),
    )
    .unwrap();
    let good = pb::AppendRequest { vote: encode(&leader(2, 1)), ..append(for_node_2()) };
    let vote = |vote: VoteOf<TypeConfig>| pb::AppendRequest { vote: encode(&vote), ..good.clone() };
    let carrying = |entries| pb::AppendRequest { entries, ..good.clone() };
    let bad = [
        ("a candidate's vote", vote(Vote::new(2, 1))),
        ("the receiver's own vote", vote(leader(2, 2))),
        ("a gap", carrying(entries(&[(1, 0), (1, 2)]))),
        ("a repetition", carrying(entries(&[(1, 0), (1, 0)]))),
        ("a first entry that does not follow", carrying(entries(&[(1, 1)]))),
        ("a falling term", carrying(entries(&[(2, 0), (1, 1)]))),
        ("an entry beyond the vote", carrying(entries(&[(3, 0)]))),
        ("no voters", carrying(membership(Membership::default()))),
        ("a voter without a node", carrying(membership(no_node))),
        (
            "a previous entry beyond the vote",
            pb::AppendRequest { prev_log_id: encode(&log_id(9, 1, 1)), ..good.clone() },
        ),
        (
            "a commit beyond the vote",
            pb::AppendRequest { leader_commit: encode(&log_id(9, 1, 1)), ..good.clone() },
        ),
    ];
    for (what, request) in bad {
        let status = peer.append(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        let status = stream_append(&mut peer, vec![request]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
    }
    for vote in [leader(9, 1), Vote::new(9, 2)] {
        let body = encode(&VoteRequest::<TypeConfig>::new(vote, None));
        let request = pb::VoteRequest { header: for_node_2(), body };
        assert_eq!(peer.vote(request.clone()).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(peer.pre_vote(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    alive(&node, &mut peer).await;
}

/// A snapshot of `entries`, as it travels.
async fn parts() -> Vec<Part> {
    let snapshot = StateMachine::default().build_snapshot().await.unwrap().snapshot.into_inner();
    let crc32c = crc32c::crc32c(&snapshot);
    let end = pb::SnapshotEnd { total_bytes: snapshot.len() as u64, crc32c };
    vec![Part::Begin(begin(for_node_2(), &meta(1, 5))), Part::Data(snapshot.into()), Part::End(end)]
}

#[tokio::test]
async fn a_damaged_or_incomplete_snapshot_is_refused_and_the_next_is_installed() {
    let node = Node::start(2).await;
    let mut peer = dial(&node).await;
    let good = parts().await;
    let Part::Data(data) = good[1].clone() else { panic!() };
    let mut flipped = data.to_vec();
    flipped[0] ^= 1;
    let with = |data: Vec<u8>| vec![good[0].clone(), Part::Data(data.into()), good[2].clone()];
    let contradiction =
        |meta| vec![Part::Begin(begin(for_node_2(), &meta)), good[1].clone(), good[2].clone()];
    let bad = [
        ("a flipped bit", with(flipped), Code::DataLoss),
        ("a missing byte", with(data[1..].to_vec()), Code::DataLoss),
        ("an empty chunk", with(vec![]), Code::InvalidArgument),
        ("no end", good[..2].to_vec(), Code::InvalidArgument),
        ("no header", good[1..].to_vec(), Code::InvalidArgument),
        ("two headers", vec![good[0].clone(), good[0].clone()], Code::InvalidArgument),
        ("nothing", vec![], Code::InvalidArgument),
        ("beyond the vote", contradiction(meta(7, 5)), Code::InvalidArgument),
        ("of nothing", contradiction(SnapshotMeta::default()), Code::InvalidArgument),
    ];
    for (what, parts, code) in bad {
        let status = install(&mut peer, parts).await.unwrap_err();
        assert_eq!(status.code(), code, "{what}: {status}");
    }
    assert_eq!(node.state.installed(), 0);
    install(&mut peer, good).await.unwrap();
    assert_eq!(node.state.installed(), 1);
    alive(&node, &mut peer).await;
}

#[tokio::test]
async fn a_snapshot_that_contradicts_what_is_committed_does_not_stop_the_node() {
    let node = Node::start(2).await;
    let mut peer = dial(&node).await;
    let committed = log_id(1, 1, 3);
    let request = pb::AppendRequest {
        entries: (0..4).map(|n| encode(&entry(n, 1))).collect(),
        leader_commit: encode(&committed),
        ..append(for_node_2())
    };
    peer.append(request).await.unwrap();
    crate::support::eventually("the entries to be applied", || async { node.state.len() == 4 }).await;

    // A greater log id in a slot that is committed: openraft would panic.
    let mut parts = parts().await;
    let header = begin(for_node_2(), &meta(2, 3));
    parts[0] = Part::Begin(pb::SnapshotHeader { vote: encode(&leader(2, 1)), ..header });
    let status = install(&mut peer, parts).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    alive(&node, &mut peer).await;
}

#[tokio::test]
async fn one_snapshot_at_a_time() {
    let node = Node::start(2).await;
    let mut peer = dial(&node).await;
    let good = parts().await;
    let (send, queue) = tokio::sync::mpsc::channel(4);
    let chunk = |part| pb::SnapshotChunk { part: Some(part) };
    send.send(chunk(good[0].clone())).await.unwrap();
    let mut slow = peer.clone();
    let queue = tokio_stream::wrappers::ReceiverStream::new(queue);
    let mut first = Box::pin(async move { slow.install_snapshot(queue).await }).fuse();

    // Before the first is admitted, a second that breaks off after its header is refused for that.
    let refused = async {
        loop {
            let status = install(&mut peer, vec![good[0].clone()]).await.unwrap_err();
            if status.code() == Code::ResourceExhausted {
                return;
            }
        }
    };
    tokio::select! {
        () = refused => {}
        answer = &mut first => panic!("{answer:?}"),
    }
    for part in &good[1..] {
        send.send(chunk(part.clone())).await.unwrap();
    }
    drop(send);
    first.await.unwrap();
    assert_eq!(node.state.installed(), 1);
}
