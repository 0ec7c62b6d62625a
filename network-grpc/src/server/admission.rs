//! What a peer may ask of the local `Raft`.
//!
//! openraft trusts its callers: entries with gaps corrupt the log, a vote in this node's own name
//! makes it lead, a membership without voters panics later. Nothing reaches openraft that did not
//! pass here.
//!
//! Each check says why no correct peer can fail it, whatever was restarted, truncated or replaced
//! by a snapshot meanwhile, on either side. All of them rest on what is durable before it is sent:
//! a node's vote before it asks for votes, and before any entry or snapshot that it accepts under
//! that vote.

use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, VoteOf};
use openraft::vote::{RaftLeaderId, RaftVote};
use openraft::{LogIdOptionExt, Membership, Node, NodeId, RaftTypeConfig};
use proto::raft::v1 as pb;
use serde::de::DeserializeOwned;
use tonic::Status;

use crate::wire;

fn invalid(what: &str, error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("{what}: {error}"))
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Status> {
    wire::decode(bytes).map_err(|e| invalid(what, e))
}

fn decode_option<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<Option<T>, Status> {
    wire::decode_option(bytes).map_err(|e| invalid(what, e))
}

/// The vote of another node that was elected.
fn leader_vote<C: RaftTypeConfig>(own: &C::NodeId, bytes: &[u8]) -> Result<VoteOf<C>, Status> {
    let vote: VoteOf<C> = decode("vote", bytes)?;
    elected::<C>(own, &vote)?;
    Ok(vote)
}

/// A node sends entries, snapshots and transfers as a leader only, with the vote it was elected by;
/// a restart makes it a follower with nothing to send. It never sends to itself, and the header has
/// kept out what was meant for a node that had this address before.
fn elected<C: RaftTypeConfig>(own: &C::NodeId, vote: &VoteOf<C>) -> Result<(), Status> {
    if !vote.is_committed() {
        return Err(invalid("vote", format!("{vote} is not a leader's")));
    }
    if vote.leader_id().node_id() == own {
        return Err(invalid("vote", format!("{vote} is this node's own")));
    }
    possible::<C>(vote)
}

/// See [`wire::is_possible`].
fn possible<C: RaftTypeConfig>(vote: &VoteOf<C>) -> Result<(), Status> {
    if !wire::is_possible::<C>(vote) {
        return Err(invalid("vote", format!("{vote} is of a term that no cluster gets to")));
    }
    Ok(())
}

/// A leader never has a log id beyond its own vote: it accepted each entry and each snapshot under
/// a vote that was durable by then, and its own is later than all of these. The first entry of a
/// cluster is of term 0 and needs none.
fn owned_by<C: RaftTypeConfig>(what: &str, log_id: &LogIdOf<C>, vote: &VoteOf<C>) -> Result<(), Status> {
    if log_id.committed_leader_id() <= &vote.leader_id().to_committed() {
        Ok(())
    } else {
        Err(invalid(what, format!("{log_id} is beyond the leader's vote {vote}")))
    }
}

/// A request whose entries are consecutive, follow `prev_log_id`, and belong to the leader. They
/// are a piece of the leader's log, which has no holes; where it was purged, a snapshot is sent
/// instead.
pub(crate) fn append<C: RaftTypeConfig>(
    own: &C::NodeId,
    request: &pb::AppendRequest,
) -> Result<AppendEntriesRequest<C>, Status> {
    let vote = leader_vote::<C>(own, &request.vote)?;
    let prev_log_id: Option<LogIdOf<C>> = decode_option("prev_log_id", &request.prev_log_id)?;
    let leader_commit: Option<LogIdOf<C>> = decode_option("leader_commit", &request.leader_commit)?;
    for (what, log_id) in [("prev_log_id", &prev_log_id), ("leader_commit", &leader_commit)] {
        log_id.as_ref().map_or(Ok(()), |log_id| owned_by::<C>(what, log_id, &vote))?;
    }
    let mut last = prev_log_id.clone();
    let mut entries = Vec::with_capacity(request.entries.len());
    for bytes in &request.entries {
        let entry: C::Entry = decode("entry", bytes)?;
        last = Some(follows::<C>(&entry, last)?);
        entries.push(entry);
    }
    last.as_ref().map_or(Ok(()), |last| owned_by::<C>("entry", last, &vote))?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// Checks that `entry` comes right after `last`, and its membership; returns its log id. Without a
/// `last` it is the first of all logs. Leaders' ids ascend along a log, also behind a truncation.
fn follows<C: RaftTypeConfig>(entry: &C::Entry, last: Option<LogIdOf<C>>) -> Result<LogIdOf<C>, Status> {
    let log_id = wire::log_id_of::<C>(entry);
    let expected = last.as_ref().map_or(Some(0), |last| last.index.checked_add(1));
    if Some(log_id.index) != expected || Some(&log_id) <= last.as_ref() {
        return Err(invalid("entry", format!("{log_id} does not follow the one before")));
    }
    if let Some(membership) = entry.get_membership() {
        voters_known(&membership)?;
        if membership.get_joint_config().is_empty() {
            return Err(invalid("entry", "a membership without voters"));
        }
    }
    Ok(log_id)
}

/// openraft makes no membership without voters, or with a voter that has no address. Only the
/// membership before the first one is empty, and that is never in an entry.
fn voters_known<I: NodeId, N: Node>(membership: &Membership<I, N>) -> Result<(), Status> {
    if membership.get_joint_config().iter().any(std::collections::BTreeSet::is_empty) {
        return Err(invalid("membership", "a configuration without voters"));
    }
    match membership.voter_ids().find(|id| membership.get_node(id).is_none()) {
        None => Ok(()),
        Some(id) => Err(invalid("membership", format!("voter {id} has no node"))),
    }
}

/// A candidate's request, made for another node and not for an election that is already won. A
/// candidate asks under its own id, with a vote it makes for the purpose; what it led by before it
/// was restarted is an earlier one.
pub(crate) fn vote<C: RaftTypeConfig>(own: &C::NodeId, body: &[u8]) -> Result<VoteRequest<C>, Status> {
    let request: VoteRequest<C> = decode("body", body)?;
    if request.vote.is_committed() {
        return Err(invalid("body", format!("{} is a leader's vote", request.vote)));
    }
    if request.vote.leader_id().node_id() == own {
        return Err(invalid("body", format!("{} is this node's own vote", request.vote)));
    }
    possible::<C>(&request.vote)?;
    Ok(request)
}

/// A leader's request to hand over.
pub(crate) fn transfer<C: RaftTypeConfig>(
    own: &C::NodeId,
    body: &[u8],
) -> Result<TransferLeaderRequest<C>, Status> {
    let request: TransferLeaderRequest<C> = decode("body", body)?;
    elected::<C>(own, request.from_leader())?;
    Ok(request)
}

/// A leader's vote and the snapshot's description, consistent with each other.
pub(crate) fn snapshot<C: RaftTypeConfig>(
    own: &C::NodeId,
    begin: &pb::SnapshotHeader,
) -> Result<(VoteOf<C>, SnapshotMetaOf<C>), Status> {
    let vote = leader_vote::<C>(own, &begin.vote)?;
    let meta: SnapshotMetaOf<C> = decode("meta", &begin.meta)?;
    // A snapshot takes the place of entries that were purged, so there were some, and a membership
    // first.
    let Some(last) = &meta.last_log_id else {
        return Err(invalid("meta", "a snapshot of nothing"));
    };
    owned_by::<C>("meta", last, &vote)?;
    if meta.last_membership.log_id().as_ref() > Some(last) {
        return Err(invalid("meta", "a membership newer than the snapshot"));
    }
    voters_known(meta.last_membership.membership())?;
    Ok((vote, meta))
}

/// Whether installing a snapshot up to `last` over what is `committed` would panic in openraft: it
/// must be older or the same, or have a greater index.
///
/// Both ends are committed, so they lie on one log, and a later log id on one log has a greater
/// index. A restarted node knows of fewer commits than before, which lie on that log too; a late
/// snapshot of a leader that was deposed is older.
pub(super) fn contradicts<C: RaftTypeConfig>(
    last: Option<&LogIdOf<C>>,
    committed: Option<&LogIdOf<C>>,
) -> bool {
    last > committed && last.index() <= committed.index()
}
