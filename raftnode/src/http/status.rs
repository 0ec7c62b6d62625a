//! The document behind `/api/status` and the status page.

use proto::node::v1 as pb;
use serde::Serialize;

use crate::api::{status_report, status_report_of_faulty};
use crate::cluster::role;
use crate::raft::Member;
use crate::standing::{Faulty, Local, explain};

/// What a node says about itself, as JSON. Indexes are Raft log indexes, sizes are bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StatusDocument {
    /// Empty: it belongs to none.
    cluster_id: String,
    cluster_name: String,
    incarnation: String,
    /// All that is not well about it.
    problems: Vec<String>,
    joint: bool,
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
    pub(crate) async fn of(local: &Local) -> Self {
        let report = status_report(local).await;
        let not_ready_because = local.ready().err().map(|reason| reason.to_string());
        Self::new(report, not_ready_because, &local.own, &local.http_addr)
    }

    /// What a node without storage says.
    pub(crate) fn of_faulty(faulty: &Faulty) -> Self {
        let report = status_report_of_faulty(faulty);
        Self::new(report, Some(explain(&faulty.fault)), &faulty.own, &faulty.http_addr)
    }

    fn new(
        report: pb::StatusResponse,
        not_ready_because: Option<String>,
        own: &Member,
        http_addr: &str,
    ) -> Self {
        let header = report.header.clone().unwrap_or_default();
        Self {
            cluster_id: header.cluster_id,
            cluster_name: report.cluster_name.clone(),
            incarnation: report.incarnation.clone(),
            problems: report.problems.clone(),
            joint: report.joint,
            node_id: report.node_id,
            ready: not_ready_because.is_none(),
            not_ready_because,
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
            client_addr: own.client_addr.clone(),
            raft_addr: own.raft_addr.clone(),
            http_addr: http_addr.to_owned(),
        }
    }
}

fn members(report: &pb::StatusResponse) -> Vec<MemberStatus> {
    let matched = |id| report.replication.iter().find(|r| r.id == id).map(|r| r.matched_index);
    let member = |member: &pb::Member| MemberStatus {
        id: member.id,
        voter: member.voter,
        raft_addr: member.raft_addr.clone(),
        client_addr: member.client_addr.clone(),
        matched_index: matched(member.id),
    };
    report.members.iter().map(member).collect()
}
