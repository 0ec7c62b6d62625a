//! What a node says about itself: `Cluster.Status`, the status page and `/api/status`.

use openraft::{LogIdOptionExt as _, ServerState};
use proto::kv::v1 as kv;

use super::header::header;
use crate::node::{Local, Standing};
use crate::raft::{Metrics, committed_end};

/// Everything this node knows about itself and the membership, now.
pub async fn status_report(local: &Local) -> kv::StatusResponse {
    let bytes = local.disk_bytes().await;
    let metrics = local.metrics();
    let applied_index = metrics.last_applied.index().unwrap_or_default();
    kv::StatusResponse {
        header: header(local, applied_index),
        node_id: local.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        initialized: local.is_initialized(),
        role: role(metrics.state).into(),
        term: metrics.current_term,
        last_log_index: metrics.last_log_index.unwrap_or_default(),
        committed_index: committed_end(&metrics).saturating_sub(1),
        applied_index,
        snapshot_index: metrics.snapshot.index().unwrap_or_default(),
        purged_index: metrics.purged.index().unwrap_or_default(),
        log_size_bytes: bytes.log,
        state_size_bytes: bytes.state,
        members: members(&metrics),
        replication: replication(&metrics),
        fault: fault(local),
        ..kv::StatusResponse::default()
    }
}

/// The members this node knows of, in the order of their ids.
pub(super) fn members(metrics: &Metrics) -> Vec<kv::Member> {
    let membership = metrics.membership_config.membership();
    let voters: Vec<_> = membership.voter_ids().collect();
    let member = |(id, member): (&u64, &crate::raft::Member)| kv::Member {
        id: *id,
        raft_addr: member.raft_addr.clone(),
        client_addr: member.client_addr.clone(),
        voter: voters.contains(id),
        ..kv::Member::default()
    };
    membership.nodes().map(member).collect()
}

fn replication(metrics: &Metrics) -> Vec<kv::Replication> {
    let others = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
    others
        .map(|(id, matched)| kv::Replication {
            id: *id,
            matched_index: matched.index().unwrap_or_default(),
            ..kv::Replication::default()
        })
        .collect()
}

fn role(state: ServerState) -> kv::Role {
    match state {
        ServerState::Leader => kv::Role::Leader,
        ServerState::Follower => kv::Role::Follower,
        ServerState::Candidate => kv::Role::Candidate,
        ServerState::Learner => kv::Role::Learner,
        ServerState::Shutdown => kv::Role::Unspecified,
    }
}

fn fault(local: &Local) -> String {
    match local.standing() {
        Standing::Good => String::new(),
        Standing::Faulty(fault) => fault.to_string(),
        Standing::Stopped(reason) => format!("consensus has stopped: {reason}"),
    }
}
