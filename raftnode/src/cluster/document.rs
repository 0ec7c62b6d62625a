//! The document behind `/api/cluster`.

use proto::node::v1 as pb;
use serde::Serialize;

use super::events::{self, ClusterEvent};
use super::peers::{Absence, Peer, PeerReports};
use super::series::Recent;
use crate::api::Reporter;
use crate::history::unix_millis;
use crate::raft::NodeId;

/// How the cluster is, as one node sees it. Indexes are Raft log indexes, sizes bytes, times
/// milliseconds since 1970.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClusterDocument {
    /// Empty: the node that asked belongs to none.
    cluster_id: String,
    cluster_name: String,
    /// ok, degraded, unavailable, not_initialized.
    health: &'static str,
    /// What is not well about the cluster as a whole.
    problems: Vec<String>,
    /// Who asked the others.
    node_id: NodeId,
    asked_unix_ms: u64,
    initialized: bool,
    /// Absent: no node that answers knows a live leader.
    leader: Option<LeaderDocument>,
    members: Vec<MemberDocument>,
    /// Newest first.
    events: Vec<ClusterEvent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LeaderDocument {
    id: NodeId,
    term: u64,
    since_unix_ms: Option<u64>,
}

/// A member. What it would have to say itself is absent when it cannot be reached.
#[derive(Debug, Serialize)]
struct MemberDocument {
    id: NodeId,
    voter: bool,
    raft_addr: String,
    client_addr: String,
    reachable: bool,
    /// What answers at its address is not this member.
    stranger: bool,
    unreachable_because: Option<String>,
    answered_unix_ms: Option<u64>,
    /// Leader, follower, learner, candidate, stopped.
    role: Option<&'static str>,
    /// Entries of the leader's log that it is not known to have.
    lag_entries: Option<u64>,
    said: Option<Said>,
    recent: Option<Recent>,
    /// What is not well about it.
    problems: Vec<String>,
    incarnation: String,
}

/// What a member says about itself.
#[derive(Debug, Serialize)]
struct Said {
    version: String,
    started_unix_ms: u64,
    http_addr: String,
    fault: Option<String>,
    not_ready_because: Option<String>,
    leader_id: Option<NodeId>,
    term: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    purged_index: u64,
    log_size_bytes: u64,
    state_size_bytes: u64,
    snapshot_size_bytes: u64,
    disk_free_bytes: u64,
    disk_size_bytes: u64,
}

impl ClusterDocument {
    pub(super) fn of(reporter: &Reporter, peers: &PeerReports, judged: &pb::HealthResponse) -> Self {
        let statuses: Vec<_> = peers.iter().filter_map(|(_, peer)| peer.report()).collect();
        let leader = leader(&statuses);
        let members = peers.iter().zip(&judged.members);
        Self {
            cluster_id: reporter.cluster_id(),
            cluster_name: reporter.cluster_name().to_owned(),
            health: health(judged.health()),
            problems: judged.problems.clone(),
            node_id: reporter.id(),
            asked_unix_ms: unix_millis(),
            initialized: judged.health() != pb::Health::NotInitialized,
            members: members.map(|((_, peer), judged)| MemberDocument::of(peer, judged)).collect(),
            events: events::merged(peers),
            leader,
        }
    }
}

fn health(health: pb::Health) -> &'static str {
    match health {
        pb::Health::Ok => "ok",
        pb::Health::Degraded => "degraded",
        pb::Health::Unavailable => "unavailable",
        pb::Health::NotInitialized | pb::Health::Unspecified => "not_initialized",
    }
}

/// Whom those who answer know to be alive, in the highest term. Since when, the leader knows best.
fn leader(reports: &[&pb::ReportResponse]) -> Option<LeaderDocument> {
    let known = reports.iter().filter_map(|report| {
        let status = report.status.as_ref()?;
        let header = status.header.as_ref()?;
        let own_word = header.leader_id == status.node_id;
        (header.leader_id != 0).then_some((
            status.term,
            own_word,
            header.leader_id,
            report.leader_since_unix_ms,
        ))
    });
    let (term, _, id, since) = known.max_by_key(|(term, own_word, ..)| (*term, *own_word))?;
    Some(LeaderDocument { id, term, since_unix_ms: Some(since).filter(|since| *since > 0) })
}

impl MemberDocument {
    fn of(peer: &Peer, judged: &pb::MemberHealth) -> Self {
        let report = peer.report();
        let status = report.and_then(|report| report.status.as_ref());
        Self {
            id: peer.member.id,
            voter: peer.member.voter,
            raft_addr: peer.member.raft_addr.clone(),
            client_addr: peer.member.client_addr.clone(),
            reachable: report.is_some(),
            stranger: matches!(peer.absence, Some(Absence::Stranger(_))),
            unreachable_because: peer.absence.as_ref().map(|absence| absence.reason().to_owned()),
            answered_unix_ms: peer.answered_unix_ms,
            role: status.map(|status| role(status.role())),
            lag_entries: judged.lag_entries,
            problems: judged.problems.clone(),
            incarnation: peer.member.incarnation.clone(),
            said: report.zip(status).map(|(report, status)| Said::of(report, status)),
            recent: report.map(|_| Recent::of(peer)),
        }
    }
}

impl Said {
    fn of(report: &pb::ReportResponse, status: &pb::StatusResponse) -> Self {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let leader_id = status.header.as_ref().map(|header| header.leader_id);
        Self {
            version: status.version.clone(),
            started_unix_ms: report.run,
            http_addr: report.http_addr.clone(),
            fault: text(&status.fault),
            not_ready_because: text(&report.not_ready_because),
            leader_id: leader_id.filter(|id| *id != 0),
            term: status.term,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            log_size_bytes: status.log_size_bytes,
            state_size_bytes: status.state_size_bytes,
            snapshot_size_bytes: report.snapshot_size_bytes,
            disk_free_bytes: report.disk_free_bytes,
            disk_size_bytes: report.disk_size_bytes,
        }
    }
}

/// What a node does in the cluster, as documents name it.
pub(crate) fn role(role: pb::Role) -> &'static str {
    match role {
        pb::Role::Leader => "leader",
        pb::Role::Follower => "follower",
        pb::Role::Candidate => "candidate",
        pb::Role::Learner => "learner",
        pb::Role::Unspecified => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(node_id: NodeId, term: u64, leader_id: NodeId, since: u64) -> pb::ReportResponse {
        let header = pb::ResponseHeader { leader_id, ..pb::ResponseHeader::default() };
        let status =
            pb::StatusResponse { node_id, term, header: Some(header), ..pb::StatusResponse::default() };
        pb::ReportResponse {
            status: Some(status),
            leader_since_unix_ms: since,
            ..pb::ReportResponse::default()
        }
    }

    /// An old leader that does not know yet that it has been replaced is not believed.
    #[test]
    fn the_highest_term_wins_and_the_leader_knows_since_when() {
        let (old, follower, new) = (report(1, 3, 1, 10), report(2, 4, 3, 30), report(3, 4, 3, 20));
        let expected = LeaderDocument { id: 3, term: 4, since_unix_ms: Some(20) };
        assert_eq!(leader(&[&old, &follower, &new]), Some(expected.clone()));
        assert_eq!(leader(&[&new, &follower, &old]), Some(expected));
        assert_eq!(leader(&[&report(2, 9, 0, 0)]), None);
        assert_eq!(leader(&[&report(2, 9, 0, 0), &old]).map(|leader| leader.id), Some(1));
    }
}
