//! Whether the cluster is well: one judgement over what its members said, for `kvcli cluster
//! status`, the status page, the metrics and every other surface.

use proto::node::v1 as pb;

use super::peers::{Absence, Peer, PeerReports};
use crate::raft::LEADER_LEASE;
use crate::standing::MAX_READY_LAG_ENTRIES;

/// What `peers` said, judged. Without a membership there is nothing to judge.
pub(super) fn judge(header: pb::ResponseHeader, peers: &PeerReports) -> pb::HealthResponse {
    let newest = newest(peers);
    let initialized = newest.is_some_and(|status| status.initialized);
    let leader = leader(peers);
    let leading = leader.and_then(|(_, peer)| status(peer));
    let members: Vec<_> = peers.iter().map(|(_, peer)| member(peer, leading)).collect();
    let problems = cluster_problems(newest, leading.is_some());
    let health = match leading {
        _ if !initialized => pb::Health::NotInitialized,
        None => pb::Health::Unavailable,
        Some(_) if problems.is_empty() && members.iter().all(|member| member.problems.is_empty()) => {
            pb::Health::Ok
        }
        Some(_) => pb::Health::Degraded,
    };
    pb::HealthResponse {
        header: Some(header),
        health: health.into(),
        problems,
        leader_id: leader.map_or(0, |(id, _)| id),
        term: leading.map_or(0, |status| status.term),
        members,
        membership_index: newest.map_or(0, |status| status.membership_index),
    }
}

fn status(peer: &Peer) -> Option<&pb::StatusResponse> {
    peer.report().and_then(|report| report.status.as_ref())
}

/// The status with the newest membership.
fn newest(peers: &PeerReports) -> Option<&pb::StatusResponse> {
    let statuses = peers.iter().filter_map(|(_, peer)| status(peer));
    statuses.max_by_key(|status| (status.initialized, status.membership_index))
}

/// The member that leads, and that a majority has acknowledged within the lease.
fn leader(peers: &PeerReports) -> Option<(u64, &Peer)> {
    let lease = u64::try_from(LEADER_LEASE.as_millis()).unwrap_or(u64::MAX);
    let leading = peers.iter().filter(|(_, peer)| {
        status(peer).is_some_and(|status| {
            status.role() == pb::Role::Leader && status.quorum_acked_ms.is_some_and(|ago| ago <= lease)
        })
    });
    leading.max_by_key(|(_, peer)| status(peer).map(|status| status.term))
}

fn cluster_problems(newest: Option<&pb::StatusResponse>, led: bool) -> Vec<String> {
    let Some(newest) = newest.filter(|status| status.initialized) else { return Vec::new() };
    let mut problems = Vec::new();
    if !led {
        problems.push("no leader that a majority of the voters acknowledges".to_owned());
    }
    if newest.joint {
        problems.push(
            "a change of the voters has begun and not ended; the leader ends it as soon as a majority of the old and of \
             the new voters answers"
                .to_owned(),
        );
    }
    problems
}

fn member(peer: &Peer, leading: Option<&pb::StatusResponse>) -> pb::MemberHealth {
    let replication = leading
        .and_then(|leading| leading.replication.iter().find(|replication| replication.id == peer.member.id));
    let lag_entries = leading.and_then(|leading| lag(leading, peer.member.id));
    let mut problems = own_problems(peer);
    if problems.is_empty()
        && let Some(replication) = replication
        && !replication.answers
    {
        problems.push("does not answer the leader".to_owned());
    }
    if let Some(lag) = lag_entries.filter(|lag| *lag > MAX_READY_LAG_ENTRIES) {
        problems.push(format!("lacks {lag} entries of the leader's log"));
    }
    pb::MemberHealth {
        member: Some(peer.member.clone()),
        status: status(peer).cloned(),
        problems,
        lag_entries,
    }
}

/// What is wrong with its answer, or with what it says of itself.
fn own_problems(peer: &Peer) -> Vec<String> {
    let Some(status) = status(peer) else {
        return vec![peer.absence.as_ref().map_or("not asked yet", Absence::reason).to_owned()];
    };
    let mut problems = status.problems.clone();
    if problems.is_empty() && !status.fault.is_empty() {
        problems.push(status.fault.clone());
    }
    let (expected, found) = (&peer.member.incarnation, &status.incarnation);
    if !expected.is_empty() && expected != found {
        let id = peer.member.id;
        problems.push(format!(
            "its data directory is not the one that the cluster knows: it was wiped, restored or replaced; run `kvcli \
             cluster remove {id}` and add a node with a new id"
        ));
    }
    problems
}

/// Entries of the leader's log that a member is not known to have. Not known of one that does not
/// answer.
pub(super) fn lag(leading: &pb::StatusResponse, id: u64) -> Option<u64> {
    if leading.node_id == id {
        return Some(0);
    }
    let replication = leading.replication.iter().find(|replication| replication.id == id)?;
    let known = replication.answers && replication.matched_index > 0;
    // Both numbers are from one answer; the second can be the newer one.
    known.then(|| leading.last_log_index.saturating_sub(replication.matched_index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64, role: pb::Role) -> pb::StatusResponse {
        pb::StatusResponse {
            node_id: id,
            initialized: true,
            role: role.into(),
            term: 3,
            last_log_index: 100,
            membership_index: 7,
            incarnation: format!("i{id}"),
            ..pb::StatusResponse::default()
        }
    }

    fn leading() -> pb::StatusResponse {
        let replication = |id| pb::Replication { id, matched_index: 100, answers: true };
        pb::StatusResponse {
            quorum_acked_ms: Some(20),
            replication: vec![replication(2), replication(3)],
            ..answer(1, pb::Role::Leader)
        }
    }

    fn follower(id: u64) -> pb::StatusResponse {
        answer(id, pb::Role::Follower)
    }

    fn judged(answers: [Result<pb::StatusResponse, &str>; 3]) -> pb::HealthResponse {
        let peers =
            (1..).zip(answers).map(|(id, status)| {
                let mut peer = Peer::new(pb::Member {
                    id,
                    voter: true,
                    incarnation: format!("i{id}"),
                    ..pb::Member::default()
                });
                let silent = |reason: &str| Absence::Silent(reason.to_owned());
                peer.take(status.map_err(silent).map(|status| pb::ReportResponse {
                    status: Some(status),
                    ..pb::ReportResponse::default()
                }));
                (id, peer)
            });
        judge(pb::ResponseHeader::default(), &PeerReports::of(peers.collect()))
    }

    fn problems(health: &pb::HealthResponse) -> Vec<(u64, String)> {
        let of = |member: &pb::MemberHealth| {
            let id = member.member.as_ref().unwrap().id;
            member.problems.iter().map(move |problem| (id, problem.clone())).collect::<Vec<_>>()
        };
        health.members.iter().flat_map(of).collect()
    }

    #[test]
    fn all_is_well_only_if_nothing_is_not() {
        let well = judged([Ok(leading()), Ok(follower(2)), Ok(follower(3))]);
        assert_eq!((well.health(), well.leader_id, well.term), (pb::Health::Ok, 1, 3));
        assert_eq!(problems(&well), []);
        assert_eq!(well.members[1].lag_entries, Some(0));
    }

    /// Found: a voter that was wiped, or that another cluster's node had taken the place of,
    /// counted as well.
    #[test]
    fn each_thing_that_is_not_well_is_named_with_its_member() {
        let silent = pb::Replication { id: 3, matched_index: 0, answers: false };
        let unheard = pb::StatusResponse {
            replication: vec![pb::Replication { id: 2, matched_index: 100, answers: true }, silent],
            ..leading()
        };
        let behind = pb::StatusResponse { last_log_index: 100_000, ..leading() };
        let wiped = pb::StatusResponse { incarnation: "other".to_owned(), ..follower(3) };
        let full = pb::StatusResponse { problems: vec!["the disk is nearly full".to_owned()], ..follower(3) };
        let broken = pb::StatusResponse { fault: "damaged".to_owned(), ..follower(3) };
        for (leader, third, part) in [
            (leading(), Err("refused"), "refused"),
            (unheard, Ok(follower(3)), "does not answer the leader"),
            (behind, Ok(follower(3)), "lacks 99900 entries"),
            (leading(), Ok(wiped), "cluster remove 3"),
            (leading(), Ok(full), "nearly full"),
            (leading(), Ok(broken), "damaged"),
        ] {
            let health = judged([Ok(leader), Ok(follower(2)), third]);
            assert_eq!(health.health(), pb::Health::Degraded, "{part}");
            let problems = problems(&health);
            assert!(
                problems.iter().any(|(id, text)| *id == 3 && text.contains(part)),
                "{part}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_change_that_has_not_ended_is_not_well() {
        let joint = pb::StatusResponse { joint: true, membership_index: 8, ..leading() };
        let health = judged([Ok(joint), Ok(follower(2)), Ok(follower(3))]);
        assert_eq!((health.health(), health.membership_index), (pb::Health::Degraded, 8));
        assert!(health.problems[0].contains("begun and not ended"), "{:?}", health.problems);
    }

    /// A leader that no majority acknowledges does not lead.
    #[test]
    fn without_an_acknowledged_leader_nothing_is_merely_degraded() {
        let alone = pb::StatusResponse { quorum_acked_ms: Some(60_000), ..leading() };
        let fresh = pb::StatusResponse { quorum_acked_ms: None, ..leading() };
        for first in [alone, fresh, follower(1)] {
            let health = judged([Ok(first), Err("gone"), Err("gone")]);
            assert_eq!((health.health(), health.leader_id), (pb::Health::Unavailable, 0));
            assert!(health.members.iter().all(|member| member.lag_entries.is_none()));
        }
        assert_eq!(judged([Err(""), Err(""), Err("")]).health(), pb::Health::NotInitialized);
    }

    #[test]
    fn the_lag_of_a_member_that_does_not_answer_is_not_known() {
        let replication = vec![
            pb::Replication { id: 2, matched_index: 90, answers: true },
            pb::Replication { id: 3, matched_index: 0, answers: false },
        ];
        let leading = pb::StatusResponse { replication, ..leading() };
        let lags = [1, 2, 3, 4].map(|id| lag(&leading, id));
        assert_eq!(lags, [Some(0), Some(10), None, None]);
    }
}
