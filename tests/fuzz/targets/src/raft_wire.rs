//! What peers send: `raft.v1` messages of any bytes, up to what openraft is given.

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::Bytes;
use network_grpc::testing::{admit_append, admit_snapshot, admit_transfer, admit_vote, judge, messages_of};
use openraft::Membership;
use openraft::entry::RaftEntry as _;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use prost::Message;
use proto::raft::v1 as pb;
use serde::Serialize;

use crate::TypeConfig;
use crate::input::Input;
use crate::raft_values::{self, Entry, EntryLogId, RaftVote};

type Append = AppendEntriesRequest<TypeConfig>;

/// The node that receives.
const OWN: u64 = 1;
const MAX_ENTRIES: usize = 6;

/// Any bytes as any message between peers, and messages made of valid parts that do not belong
/// together: what is admitted keeps the rules that openraft relies on.
pub fn raft_wire(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 8 {
        0 => drop(decoded(bytes).and_then(|message| append(&message))),
        1 => drop(append(&composed_append(&mut Input::new(bytes)))),
        2 => vote(bytes),
        3 => transfer(bytes),
        4 => drop(decoded(bytes).map(|header| snapshot(&header))),
        5 => snapshot(&composed_snapshot(&mut Input::new(bytes))),
        6 => answer(&mut Input::new(bytes)),
        _ => drop(decoded::<pb::SnapshotChunk>(bytes)),
    }
}

fn decoded<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice()).expect("what was encoded can be decoded");
    assert_eq!(message, again);
    Some(message)
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    codec::encode(value).unwrap().into()
}

fn encode_option<T: Serialize>(value: Option<&T>) -> Bytes {
    value.map(encode).unwrap_or_default()
}

fn composed_append(input: &mut Input<'_>) -> pb::AppendRequest {
    let vote = raft_values::vote(input);
    let prev = raft_values::optional_log_id(input);
    let commit = raft_values::optional_log_id(input);
    let mut index = prev.as_ref().map_or(0, |prev| prev.index.wrapping_add(1));
    let count = usize::from(input.u8()) % (MAX_ENTRIES + 1);
    let mut entry = || {
        let shape = input.u8();
        if shape == 255 {
            return Bytes::copy_from_slice(input.sized());
        }
        // Mostly the entry that belongs here.
        let mut log_id = raft_values::log_id(input);
        if shape < 200 {
            log_id.index = index;
        }
        if shape < 128 {
            log_id.leader_id = vote.leader_id;
        }
        index = index.wrapping_add(1);
        encode(&raft_values::entry(input, log_id))
    };
    let entries = (0..count).map(|_| entry()).collect();
    pb::AppendRequest {
        header: None,
        vote: encode(&vote),
        prev_log_id: encode_option(prev.as_ref()),
        leader_commit: encode_option(commit.as_ref()),
        entries,
    }
}

fn is_committed_by_another(vote: &RaftVote) -> bool {
    vote.committed && vote.leader_id.node_id != OWN
}

fn has_voters(membership: &Membership<u64, raftnode::Member>) -> bool {
    let configs = membership.get_joint_config();
    let nodes: BTreeSet<u64> = membership.nodes().map(|(id, _)| *id).collect();
    configs.iter().all(|config| !config.is_empty() && config.is_subset(&nodes))
}

fn log_id_of(entry: &Entry) -> EntryLogId {
    entry.log_id
}

/// The request, if it is admitted.
fn append(message: &pb::AppendRequest) -> Option<Append> {
    let request: Append = admit_append(&OWN, message).ok()?;
    assert!(is_committed_by_another(&request.vote), "{}", request.vote);
    let mut last = request.prev_log_id;
    for entry in &request.entries {
        let log_id = log_id_of(entry);
        assert_eq!(Some(log_id.index), last.map_or(Some(0), |last| last.index.checked_add(1)), "a hole");
        assert!(Some(log_id) > last, "{log_id} after {last:?}");
        last = Some(log_id);
        if let Some(membership) = entry.get_membership() {
            assert!(has_voters(&membership) && !membership.get_joint_config().is_empty(), "{membership}");
        }
    }
    for log_id in [request.prev_log_id, request.leader_commit, last].into_iter().flatten() {
        assert!(log_id.leader_id <= request.vote.leader_id, "{log_id} is beyond {}", request.vote);
    }
    sent_again(request.clone());
    Some(request)
}

/// What was admitted can be sent on, and arrives as it was.
fn sent_again(request: Append) {
    let messages = messages_of(request.clone()).expect("what was received can be sent");
    let pieces: Vec<Append> = messages.iter().map(|message| admit_append(&OWN, message).unwrap()).collect();
    let entries: Vec<Entry> = pieces.iter().flat_map(|piece| piece.entries.clone()).collect();
    assert_eq!(entries, request.entries);
    assert_eq!(pieces[0].prev_log_id, request.prev_log_id);
    assert!(
        pieces.iter().all(|piece| piece.vote == request.vote && piece.leader_commit == request.leader_commit)
    );
}

fn vote(body: &[u8]) {
    let Ok(request) = admit_vote::<TypeConfig>(&OWN, body) else { return };
    assert!(!request.vote.committed && request.vote.leader_id.node_id != OWN, "{}", request.vote);
}

fn transfer(body: &[u8]) {
    let Ok(request) = admit_transfer::<TypeConfig>(&OWN, body) else { return };
    assert!(is_committed_by_another(request.from_leader()));
}

fn composed_snapshot(input: &mut Input<'_>) -> pb::SnapshotHeader {
    let vote = encode(&raft_values::vote(input));
    pb::SnapshotHeader { header: None, vote, meta: encode(&raft_values::snapshot_meta(input)) }
}

fn snapshot(header: &pb::SnapshotHeader) {
    let Ok((vote, meta)) = admit_snapshot::<TypeConfig>(&OWN, header) else { return };
    assert!(is_committed_by_another(&vote), "{vote}");
    let last = meta.last_log_id.expect("a position");
    assert!(last.leader_id <= vote.leader_id, "{last} is beyond {vote}");
    assert!(*meta.last_membership.log_id() <= Some(last));
    assert!(has_voters(meta.last_membership.membership()));
}

/// A peer's answer to a request of ours.
fn answer(input: &mut Input<'_>) {
    let mut composed = composed_append(input);
    // A request that this node sends is in its own name.
    let vote = RaftVote { committed: true, ..raft_values::vote(input) };
    composed.vote = encode(&vote);
    let Ok(request) = admit_append::<TypeConfig>(&0, &composed) else { return };
    let response = match input.u8() % 6 {
        0 => pb::append_response::Result::Conflict(pb::AppendConflict {}),
        1 => pb::append_response::Result::HigherVote(encode(&raft_values::vote(input))),
        2 => success(encode(&raft_values::log_id(input))),
        3 => success(Bytes::copy_from_slice(input.sized())),
        4 => pb::append_response::Result::HigherVote(Bytes::copy_from_slice(input.sized())),
        _ => return any_answer(request, input),
    };
    check_answer(request, pb::AppendResponse { result: Some(response) });
}

fn success(partial_up_to: Bytes) -> pb::append_response::Result {
    pb::append_response::Result::Success(pb::AppendSuccess { partial_up_to })
}

fn any_answer(request: Append, input: &mut Input<'_>) {
    if let Some(response) = decoded(input.rest()) {
        check_answer(request, response);
    }
}

fn check_answer(request: Append, response: pb::AppendResponse) {
    let last = request.entries.last().map(log_id_of).or(request.prev_log_id);
    match judge(request.clone(), response) {
        Ok(AppendEntriesResponse::PartialSuccess(stored)) => {
            assert!(request.prev_log_id <= stored && stored <= last, "{stored:?} was never sent");
        }
        Ok(AppendEntriesResponse::Conflict) => assert!(request.prev_log_id.is_some()),
        Ok(AppendEntriesResponse::HigherVote(vote)) => {
            assert!(
                vote.partial_cmp(&request.vote).is_none_or(|order| order.is_gt()),
                "{vote} is not higher"
            );
            let ours = vote.leader_id.node_id == request.vote.leader_id.node_id;
            assert!(
                !ours || !vote.committed || vote.leader_id == request.vote.leader_id,
                "{vote} was never won"
            );
        }
        Ok(AppendEntriesResponse::Success) => panic!("a success without a position"),
        Err(_) => {}
    }
}
