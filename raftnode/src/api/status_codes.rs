//! What a failure is called, and what it says about the request.
//!
//! The one distinction that matters to a client is whether a write may have been applied:
//! UNAVAILABLE, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, FAILED_PRECONDITION and DATA_LOSS say no,
//! DEADLINE_EXCEEDED and UNKNOWN say perhaps.

use std::fmt;

use openraft::errors::{ChangeMembershipError, ClientWriteError, Fatal, LinearizableReadError, RaftError};
use storage_leveldb::Fault;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::call::Addressee;
use super::header;
use crate::raft::{NodeId, TypeConfig};
use crate::standing::{Affiliation, Local, Standing, is_disk_full};

/// How an attempt at a request ended, if not well.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Not applied, and another node may be able to: look for the leader again.
    NotApplied(Status),
    /// It may have been applied, and may be sent again all the same. If it is not, or not answered
    /// then, this is how it ended.
    Lost(Status),
    /// The client's to judge.
    Final(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Final(status)
    }
}

/// The answer of a node whose storage failed. Nothing was applied, and another node may serve: the
/// metadata says so, because RESOURCE_EXHAUSTED is also what an overloaded node says.
pub(crate) fn fault_status(id: NodeId, fault: &Fault) -> Status {
    let (mut status, kind) = if is_disk_full(fault) {
        let text = format!("disk full on node {id}: {fault}; not applied, ask another node");
        (Status::resource_exhausted(text), "disk-full")
    } else {
        (Status::data_loss(format!("node {id}: {fault}; not applied, ask another node")), "damaged")
    };
    status.metadata_mut().insert(header::NODE_FAULT_METADATA, MetadataValue::from_static(kind));
    status
}

/// The answer of a node that serves nothing.
pub(crate) fn check_standing(local: &Local) -> Result<(), Status> {
    match local.standing() {
        Standing::Good => Ok(()),
        Standing::Faulty(fault) => Err(fault_status(local.id, &fault)),
        Standing::Stopped(_) if local.is_stopping() => {
            Err(Status::unavailable("this node is stopping; ask another node"))
        }
        Standing::Stopped(reason) => {
            Err(Status::unavailable(format!("consensus has stopped: {reason}; ask another node")))
        }
    }
}

/// The answer of a node that takes no part in a cluster. Where it only waits to be initialised that
/// is final; otherwise another node may serve.
pub(crate) fn check_affiliation(local: &Local) -> Result<(), Status> {
    let affiliation = local.affiliation();
    let text = || local.describe_affiliation(affiliation);
    match affiliation {
        Affiliation::Member(_) => Ok(()),
        Affiliation::Founder => Err(Status::failed_precondition(text())),
        _ => Err(Status::unavailable(format!("{}; ask a member", text()))),
    }
}

/// The answer to a request that is meant for another node or cluster.
pub(crate) fn check_addressee(local: &Local, addressee: Addressee) -> Result<(), Status> {
    let Addressee { cluster, node, garbled, misplaced } = addressee;
    if garbled {
        return Err(Status::invalid_argument("node-cluster-id is no cluster id, or node-target no node id"));
    }
    if misplaced {
        return Err(Status::permission_denied(
            "nodes forward requests to the port for peers, and this is the port for clients; leave the metadata \
             node-forwarded out",
        ));
    }
    let own = local.identity().member().map(|member| member.cluster_id);
    let matches =
        cluster.is_none_or(|cluster| own == Some(cluster)) && node.is_none_or(|node| node == local.id);
    if matches {
        return Ok(());
    }
    let own = own.map_or_else(|| "of no cluster".to_owned(), |own| format!("of cluster {own}"));
    let node = node.map_or_else(|| "a node".to_owned(), |node| format!("node {node}"));
    let cluster = cluster.map_or_else(String::new, |cluster| format!(" of cluster {cluster}"));
    Err(Status::failed_precondition(format!(
        "this is node {} {own}; the request is for {node}{cluster} and was not applied",
        local.id
    )))
}

/// A command of a schema that is not in force.
pub(crate) fn too_new(since: u32, in_force: u32) -> Status {
    Status::failed_precondition(format!(
        "this command needs schema {since}, and schema {in_force} is in force: a member runs an older program, or does not \
         answer; not applied, replace the program on every node first"
    ))
}

pub(crate) fn no_leader(detail: impl fmt::Display) -> Status {
    Status::unavailable(format!("no leader: {detail}; not applied, try again"))
}

pub(crate) fn no_quorum() -> Status {
    Status::unavailable(
        "this leader reaches no majority of the voters; not applied, try again once they are back",
    )
}

pub(crate) fn too_many_wait() -> Status {
    Status::unavailable("too many writes wait for this leader; not applied, try again later")
}

pub(crate) fn disk_hangs() -> Status {
    Status::unavailable("the disk of this node does not answer; not applied, ask another node")
}

pub(crate) fn disk_hangs_unknown() -> Status {
    Status::unknown("the disk of this node does not answer; whether the write was applied is unknown")
}

pub(crate) fn leader_lost(id: NodeId) -> Status {
    Status::unknown(format!(
        "node {id} did not answer before another one led; whether the write was applied is unknown"
    ))
}

pub(crate) fn stopped_unknown() -> Status {
    Status::unknown("this node is stopping; whether the write was applied is unknown")
}

pub(crate) fn out_of_time_unknown() -> Status {
    Status::deadline_exceeded("out of time; whether the write was applied is unknown")
}

pub(crate) fn out_of_time() -> Status {
    Status::deadline_exceeded("out of time; nothing was changed")
}

/// A write that openraft refused or lost.
pub(crate) fn write_failure(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Failure {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Failure::NotApplied(no_leader(forwarded_because(&forward.leader_id)))
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => {
            Failure::Final(Status::unknown("the leader changed; whether the write was applied is unknown"))
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(e)) => {
            Failure::Final(membership_failure(&e))
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(e)) => {
            Failure::Final(Status::failed_precondition(e.to_string()))
        }
        // It may have been in the log by then.
        RaftError::Fatal(fatal) => Failure::Final(Status::unknown(format!(
            "this node failed while it worked on the write ({fatal}); whether it was applied is unknown"
        ))),
    }
}

/// openraft's own reason, as in "LeaseExpired", is for its developers.
fn forwarded_because(leader: &Option<NodeId>) -> String {
    match leader {
        Some(id) => format!("node {id} leads, or no majority has confirmed this one"),
        None => "this node does not lead, or no majority has confirmed it".to_owned(),
    }
}

fn membership_failure<L, N>(error: &ChangeMembershipError<L, N>) -> Status
where
    L: openraft::vote::RaftCommittedLeaderId,
    N: openraft::NodeId,
{
    match error {
        ChangeMembershipError::InProgress(_) => Status::failed_precondition(
            "another change of the membership is not committed yet; try again when it is",
        ),
        ChangeMembershipError::EmptyMembership(_) => {
            Status::failed_precondition("no voter would be left; promote another node first")
        }
        ChangeMembershipError::LearnerNotFound(e) => Status::failed_precondition(format!(
            "node {} is not a learner; run kvcli cluster add-learner first",
            e.node_id
        )),
        other => Status::failed_precondition(other.to_string()),
    }
}

/// A read whose confirmation failed. A read changes nothing, so it may always be tried elsewhere.
pub(crate) fn read_failure(error: &RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Failure {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            Failure::NotApplied(no_leader(forwarded_because(&forward.leader_id)))
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Failure::Final(no_quorum()),
        RaftError::Fatal(fatal) => Failure::Final(stopped(fatal)),
    }
}

/// A read on a node whose core has stopped.
pub(crate) fn stopped(fatal: &Fatal<TypeConfig>) -> Status {
    Status::unavailable(format!("consensus has stopped: {fatal}; ask another node"))
}

/// Adds who answered and who leads to a failure, unless the leader has done so already, and the
/// proof that nothing was applied where the code says so.
pub(crate) fn with_hints(local: &Local, mut status: Status) -> Status {
    header::add_hints(local, status.metadata_mut());
    if says_not_applied(status.code()) {
        let proof = MetadataValue::from_static("1");
        status.metadata_mut().insert(header::NOT_APPLIED_METADATA, proof);
    }
    status
}

fn says_not_applied(code: Code) -> bool {
    use Code::{
        DataLoss, FailedPrecondition, InvalidArgument, PermissionDenied, ResourceExhausted, Unauthenticated,
        Unavailable, Unimplemented,
    };
    matches!(
        code,
        DataLoss
            | FailedPrecondition
            | InvalidArgument
            | PermissionDenied
            | ResourceExhausted
            | Unauthenticated
            | Unavailable
            | Unimplemented
    )
}
