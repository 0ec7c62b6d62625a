//! The document behind `/api/status` and the status page.

use proto::kv::v1 as kv;
use serde::Serialize;

use crate::api::status_report;
use crate::node::Local;

/// What a node says about itself, as JSON. Indexes are Raft log indexes, sizes are bytes.
#[derive(Debug, Clone, Serialize)]
pub struct StatusDocument {
    cluster_id: String,
    node_id: u64,
    version: String,
    ready: bool,
    /// Why not; absent: it is.
    not_ready_because: Option<String>,
    initialized: bool,
    role: &'static str,
    leader_id: Option<u64>,
    leader_addr: Option<String>,
    term: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    purged_index: u64,
    log_size_bytes: u64,
    state_size_bytes: u64,
    fault: Option<String>,
    client_addr: String,
    raft_addr: String,
    http_addr: String,
    members: Vec<MemberStatus>,
}

/// One member as this node knows it.
#[derive(Debug, Clone, Serialize)]
struct MemberStatus {
    id: u64,
    voter: bool,
    raft_addr: String,
    client_addr: String,
    /// On the leader only: how far the member's log is known to reach.
    matched_index: Option<u64>,
}

impl StatusDocument {
    /// What `local` says now.
    pub async fn of(local: &Local) -> Self {
        let report = status_report(local).await;
        let ready = local.ready();
        let header = report.header.clone().unwrap_or_default();
        Self {
            cluster_id: local.cluster_id.clone(),
            node_id: local.id,
            ready: ready.is_ok(),
            not_ready_because: ready.err().map(|reason| reason.to_string()),
            initialized: report.initialized,
            role: role(report.role()),
            leader_id: Some(header.leader_id).filter(|id| *id != 0),
            leader_addr: Some(header.leader_addr).filter(|addr| !addr.is_empty()),
            members: members(&report),
            version: report.version,
            term: report.term,
            last_log_index: report.last_log_index,
            committed_index: report.committed_index,
            applied_index: report.applied_index,
            snapshot_index: report.snapshot_index,
            purged_index: report.purged_index,
            log_size_bytes: report.log_size_bytes,
            state_size_bytes: report.state_size_bytes,
            fault: Some(report.fault).filter(|fault| !fault.is_empty()),
            client_addr: local.own.client_addr.clone(),
            raft_addr: local.own.raft_addr.clone(),
            http_addr: local.http_addr.clone(),
        }
    }
}

fn members(report: &kv::StatusResponse) -> Vec<MemberStatus> {
    let matched = |id| report.replication.iter().find(|r| r.id == id).map(|r| r.matched_index);
    let member = |member: &kv::Member| MemberStatus {
        id: member.id,
        voter: member.voter,
        raft_addr: member.raft_addr.clone(),
        client_addr: member.client_addr.clone(),
        matched_index: matched(member.id),
    };
    report.members.iter().map(member).collect()
}

fn role(role: kv::Role) -> &'static str {
    match role {
        kv::Role::Leader => "leader",
        kv::Role::Follower => "follower",
        kv::Role::Candidate => "candidate",
        kv::Role::Learner => "learner",
        kv::Role::Unspecified => "stopped",
    }
}
