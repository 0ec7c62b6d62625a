//! openraft's values out of a fuzzer's bytes, small enough that the interesting relations between
//! them happen.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kvnode::Command;
use openraft::entry::RaftEntry as _;
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use openraft::{EntryPayload, LogId, Membership, Vote};

use raftnode::Member;

use crate::input::Input;
use crate::{Payload, TypeConfig};

type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type EntryLogId = LogIdOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type RaftVote = VoteOf<TypeConfig>;

fn leader(input: &mut Input<'_>) -> LeaderId {
    LeaderId { term: u64::from(input.u8() % 4), node_id: u64::from(input.u8() % 4) }
}

pub(crate) fn vote(input: &mut Input<'_>) -> RaftVote {
    let leader = leader(input);
    match input.flag() {
        true => Vote::new_committed(leader.term, leader.node_id),
        false => Vote::new(leader.term, leader.node_id),
    }
}

pub(crate) fn log_id(input: &mut Input<'_>) -> EntryLogId {
    let leader = leader(input);
    let index = match input.u8() {
        255 => input.u64(),
        small => u64::from(small % 8),
    };
    LogId::new(leader, index)
}

pub(crate) fn optional_log_id(input: &mut Input<'_>) -> Option<EntryLogId> {
    input.flag().then(|| log_id(input))
}

pub(crate) fn membership(input: &mut Input<'_>) -> Membership<u64, Member> {
    let mut ids = || -> BTreeSet<u64> { (0..input.u8() % 4).map(|_| u64::from(input.u8() % 6)).collect() };
    let nodes = ids();
    let configs = match ids() {
        first if first.len() > 2 => vec![first, ids()],
        first => vec![first],
    };
    let nodes: BTreeMap<u64, Member> =
        nodes.into_iter().map(|id| (id, Member::at(format!("n{id}:1"), format!("n{id}:2")))).collect();
    // What cannot be made falls back to a valid one: broken ones come as raw bytes.
    let one = || Membership::new_with_defaults(vec![BTreeSet::from([1])], [2]);
    Membership::new(configs, nodes).unwrap_or_else(|_| one())
}

pub(crate) fn stored_membership(input: &mut Input<'_>) -> StoredMembership {
    StoredMembership::new(optional_log_id(input), membership(input))
}

pub(crate) fn snapshot_meta(input: &mut Input<'_>) -> SnapshotMeta {
    SnapshotMeta { last_log_id: optional_log_id(input), last_membership: stored_membership(input) }
}

pub(crate) fn command(input: &mut Input<'_>) -> Command {
    let return_previous = input.flag();
    let key = Bytes::from(vec![b'k'; usize::from(input.u8() % 3) + 1]);
    match input.flag() {
        true => Command::Delete { key, return_previous },
        false => Command::Put { key, value: Bytes::copy_from_slice(input.sized()), return_previous },
    }
}

pub(crate) fn entry(input: &mut Input<'_>, log_id: EntryLogId) -> Entry {
    let payload = match input.u8() % 4 {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Membership(membership(input)),
        _ => EntryPayload::Normal(Payload(Bytes::copy_from_slice(input.sized()))),
    };
    Entry::new(log_id, payload)
}
