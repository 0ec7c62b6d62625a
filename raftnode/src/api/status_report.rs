//! What a node says about itself: `Cluster.Status`, the status page and `/api/status`.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use network_grpc::Incarnation;
use openraft::type_config::alias::LogIdOf;
use openraft::{LogIdOptionExt as _, Membership, ServerState};
use proto::node::v1 as pb;
use rustix::time::{ClockId, clock_gettime};

use super::header::{header, header_of_faulty};
use crate::raft::{Member, Metrics, NodeId, TypeConfig, committed_end};
use crate::standing::{Affiliation, Faulty, Local, Standing, answers, explain, is_joint};

/// Everything this node knows about itself and the membership, now. A node that was removed claims
/// nothing about the cluster.
pub(crate) fn status_report<'a>(local: &'a Local) -> BoxFuture<'a, pb::StatusResponse> {
    Box::pin(async move {
        let bytes = local.disk_bytes().await;
        let space = local.disk_space().await;
        let metrics = local.metrics();
        let applied_index = metrics.last_applied.index().unwrap_or_default();
        let own = pb::StatusResponse {
            header: header(local),
            node_id: local.id,
            version: local.program.version.to_owned(),
            initialized: local.is_initialized(),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or_default(),
            committed_index: committed_end(&metrics).saturating_sub(1),
            applied_index,
            snapshot_index: metrics.snapshot.index().unwrap_or_default(),
            purged_index: metrics.purged.index().unwrap_or_default(),
            log_size_bytes: bytes.log,
            state_size_bytes: bytes.state,
            fault: fault(local),
            cluster_name: local.cluster_name.clone(),
            incarnation: incarnation(local.identity().member().and_then(|member| member.incarnation)),
            schema: local.in_force.own(),
            schema_in_force: local.in_force.next(),
            processor_micros: processor_micros(),
            problems: local.problems(space).iter().map(ToString::to_string).collect(),
            ..pb::StatusResponse::default()
        };
        if matches!(local.affiliation(), Affiliation::Removed(_) | Affiliation::Replaced(_)) {
            return own;
        }
        pb::StatusResponse {
            role: role(metrics.state).into(),
            members: members(&metrics),
            replication: replication(&metrics, local.leader_watch.is_fresh()),
            joint: is_joint(&metrics),
            membership_index: metrics.membership_config.log_id().index().unwrap_or_default(),
            quorum_acked_ms: local.quorum_acked().and_then(|ago| u64::try_from(ago.as_millis()).ok()),
            ..own
        }
    })
}

/// What is known without the storage: who this is, and what is wrong.
pub(crate) fn status_report_of_faulty(faulty: &Faulty) -> pb::StatusResponse {
    pb::StatusResponse {
        header: Some(header_of_faulty(faulty)),
        cluster_name: faulty.cluster_name.clone(),
        problems: vec![explain(&faulty.fault)],
        node_id: faulty.id,
        version: faulty.program.version.to_owned(),
        fault: faulty.fault.to_string(),
        ..pb::StatusResponse::default()
    }
}

/// What this process has used of processors since its start.
fn processor_micros() -> u64 {
    let rustix::time::Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
    // The clock counts up from 0.
    let (seconds, nanos) = (u64::try_from(tv_sec).unwrap_or(0), u64::try_from(tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

/// The members this node knows of, in the order of their ids.
pub(super) fn members(metrics: &Metrics) -> Vec<pb::Member> {
    members_of(metrics.membership_config.membership())
}

/// The members of a membership, in the order of their ids.
pub(super) fn members_of(membership: &Membership<NodeId, Member>) -> Vec<pb::Member> {
    let configs = membership.get_joint_config();
    let (old, new) = (configs.first(), configs.last());
    let votes_in =
        |config: Option<&BTreeSet<NodeId>>, id: &NodeId| config.is_some_and(|voters| voters.contains(id));
    let member = |(id, member): (&NodeId, &Member)| {
        let (before, after) = (votes_in(old, id), votes_in(new, id));
        let change = match (before, after) {
            (false, true) => pb::VoterChange::Joining,
            (true, false) => pb::VoterChange::Leaving,
            _ => pb::VoterChange::Unspecified,
        };
        pb::Member {
            id: *id,
            raft_addr: member.raft_addr.clone(),
            client_addr: member.client_addr.clone(),
            voter: before || after,
            incarnation: incarnation(member.incarnation()),
            change: change.into(),
        }
    };
    membership.nodes().map(member).collect()
}

fn incarnation(incarnation: Option<Incarnation>) -> String {
    incarnation.map(|incarnation| incarnation.to_string()).unwrap_or_default()
}

/// `fresh`: the leader need not have heard from every member yet.
fn replication(metrics: &Metrics, fresh: bool) -> Vec<pb::Replication> {
    let others = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
    let replication = |(id, matched): (&NodeId, &Option<LogIdOf<TypeConfig>>)| pb::Replication {
        id: *id,
        matched_index: matched.index().unwrap_or_default(),
        answers: fresh || answers(metrics, *id),
    };
    others.map(replication).collect()
}

fn role(state: ServerState) -> pb::Role {
    match state {
        ServerState::Leader => pb::Role::Leader,
        ServerState::Follower => pb::Role::Follower,
        ServerState::Candidate => pb::Role::Candidate,
        ServerState::Learner => pb::Role::Learner,
        ServerState::Shutdown => pb::Role::Unspecified,
    }
}

fn fault(local: &Local) -> String {
    match local.standing() {
        Standing::Good => String::new(),
        Standing::Faulty(fault) => fault.to_string(),
        Standing::Stopped(reason) => format!("consensus has stopped: {reason}"),
    }
}
