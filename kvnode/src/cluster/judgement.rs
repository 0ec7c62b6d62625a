//! Whether the cluster is well: one judgement over what its members said, for `kvcli cluster status`, the
//! status page, the metrics and every other surface.

use proto::kv::v1 as kv;

use super::peers::{Peer, PeerReports};
use crate::node::MAX_READY_LAG_ENTRIES;
use crate::raft::LEADER_LEASE;

/// What `peers` said, judged. Without a membership there is nothing to judge.
pub(super) fn judge(header: kv::ResponseHeader, peers: &PeerReports) -> kv::HealthResponse {
    let newest = newest(peers);
    let initialized = newest.is_some_and(|status| status.initialized);
    let leader = leader(peers);
    let leading = leader.and_then(|(_, peer)| status(peer));
    let members: Vec<_> = peers.iter().map(|(_, peer)| member(peer, leading)).collect();
    let problems = cluster_problems(newest, leading.is_some());
    let health = match leading {
        _ if !initialized => kv::Health::NotInitialized,
        None => kv::Health::Unavailable,
        Some(_) if problems.is_empty() && members.iter().all(|member| member.problems.is_empty()) => {
            kv::Health::Ok
        }
        Some(_) => kv::Health::Degraded,
    };
    kv::HealthResponse {
        header: Some(header),
        health: health.into(),
        problems,
        leader_id: leader.map_or(0, |(id, _)| id),
        term: leading.map_or(0, |status| status.term),
        members,
        membership_index: newest.map_or(0, |status| status.membership_index),
    }
}

fn status(peer: &Peer) -> Option<&kv::StatusResponse> {
    peer.report().and_then(|report| report.status.as_ref())
}

/// The status with the newest membership.
fn newest(peers: &PeerReports) -> Option<&kv::StatusResponse> {
    let statuses = peers.iter().filter_map(|(_, peer)| status(peer));
    statuses.max_by_key(|status| (status.initialized, status.membership_index))
}

/// The member that leads, and that a majority has acknowledged within the lease.
fn leader(peers: &PeerReports) -> Option<(u64, &Peer)> {
    let lease = u64::try_from(LEADER_LEASE.as_millis()).unwrap_or(u64::MAX);
    let leading = peers.iter().filter(|(_, peer)| {
        status(peer).is_some_and(|status| {
            status.role() == kv::Role::Leader && status.quorum_acked_ms.is_some_and(|ago| ago <= lease)
        })
    });
    leading.max_by_key(|(_, peer)| status(peer).map(|status| status.term))
}

fn cluster_problems(newest: Option<&kv::StatusResponse>, led: bool) -> Vec<String> {
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

fn member(peer: &Peer, leading: Option<&kv::StatusResponse>) -> kv::MemberHealth {
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
    kv::MemberHealth {
        member: Some(peer.member.clone()),
        status: status(peer).cloned(),
        problems,
        lag_entries,
    }
}

/// What is wrong with its answer, or with what it says of itself.
fn own_problems(peer: &Peer) -> Vec<String> {
    let Some(status) = status(peer) else {
        return vec![peer.unreachable.clone().unwrap_or_else(|| "not asked yet".to_owned())];
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

/// Entries of the leader's log that a member is not known to have. Not known of one that does not answer.
pub(super) fn lag(leading: &kv::StatusResponse, id: u64) -> Option<u64> {
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

    fn answer(id: u64, role: kv::Role) -> kv::StatusResponse {
        kv::StatusResponse {
            node_id: id,
            initialized: true,
            role: role.into(),
            term: 3,
            last_log_index: 100,
            membership_index: 7,
            incarnation: format!("i{id}"),
            ..kv::StatusResponse::default()
        }
    }

    fn leading() -> kv::StatusResponse {
        let replication = |id| kv::Replication { id, matched_index: 100, answers: true };
        kv::StatusResponse {
            quorum_acked_ms: Some(20),
            replication: vec![replication(2), replication(3)],
            ..answer(1, kv::Role::Leader)
        }
    }

    fn follower(id: u64) -> kv::StatusResponse {
        answer(id, kv::Role::Follower)
    }

    fn judged(answers: [Result<kv::StatusResponse, &str>; 3]) -> kv::HealthResponse {
        let peers =
            (1..).zip(answers).map(|(id, status)| {
                let mut peer = Peer::new(kv::Member {
                    id,
                    voter: true,
                    incarnation: format!("i{id}"),
                    ..kv::Member::default()
                });
                peer.take(status.map_err(str::to_owned).map(|status| kv::ReportResponse {
                    status: Some(status),
                    ..kv::ReportResponse::default()
                }));
                (id, peer)
            });
        judge(kv::ResponseHeader::default(), &PeerReports::of(peers.collect()))
    }

    fn problems(health: &kv::HealthResponse) -> Vec<(u64, String)> {
        let of = |member: &kv::MemberHealth| {
            let id = member.member.as_ref().unwrap().id;
            member.problems.iter().map(move |problem| (id, problem.clone())).collect::<Vec<_>>()
        };
        health.members.iter().flat_map(of).collect()
    }

    #[test]
    fn all_is_well_only_if_nothing_is_not() {
        let well = judged([Ok(leading()), Ok(follower(2)), Ok(follower(3))]);
        assert_eq!((well.health(), well.leader_id, well.term), (kv::Health::Ok, 1, 3));
        assert_eq!(problems(&well), []);
        assert_eq!(well.members[1].lag_entries, Some(0));
    }

    /// Found: a voter that was wiped, or that another cluster's node had taken the place of, counted as well.
    #[test]
    fn each_thing_that_is_not_well_is_named_with_its_member() {
        let silent = kv::Replication { id: 3, matched_index: 0, answers: false };
        let unheard = kv::StatusResponse {
            replication: vec![kv::Replication { id: 2, matched_index: 100, answers: true }, silent],
            ..leading()
        };
        let behind = kv::StatusResponse { last_log_index: 100_000, ..leading() };
        let wiped = kv::StatusResponse { incarnation: "other".to_owned(), ..follower(3) };
        let full = kv::StatusResponse { problems: vec!["the disk is nearly full".to_owned()], ..follower(3) };
        let broken = kv::StatusResponse { fault: "damaged".to_owned(), ..follower(3) };
        for (leader, third, part) in [
            (leading(), Err("refused"), "refused"),
            (unheard, Ok(follower(3)), "does not answer the leader"),
            (behind, Ok(follower(3)), "lacks 99900 entries"),
            (leading(), Ok(wiped), "cluster remove 3"),
            (leading(), Ok(full), "nearly full"),
            (leading(), Ok(broken), "damaged"),
        ] {
            let health = judged([Ok(leader), Ok(follower(2)), third]);
            assert_eq!(health.health(), kv::Health::Degraded, "{part}");
            let problems = problems(&health);
            assert!(
                problems.iter().any(|(id, text)| *id == 3 && text.contains(part)),
                "{part}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_change_that_has_not_ended_is_not_well() {
        let joint = kv::StatusResponse { joint: true, membership_index: 8, ..leading() };
        let health = judged([Ok(joint), Ok(follower(2)), Ok(follower(3))]);
        assert_eq!((health.health(), health.membership_index), (kv::Health::Degraded, 8));
        assert!(health.problems[0].contains("begun and not ended"), "{:?}", health.problems);
    }

    /// A leader that no majority acknowledges leads nobody.
    #[test]
    fn without_an_acknowledged_leader_nothing_is_merely_degraded() {
        let alone = kv::StatusResponse { quorum_acked_ms: Some(60_000), ..leading() };
        let fresh = kv::StatusResponse { quorum_acked_ms: None, ..leading() };
        for first in [alone, fresh, follower(1)] {
            let health = judged([Ok(first), Err("gone"), Err("gone")]);
            assert_eq!((health.health(), health.leader_id), (kv::Health::Unavailable, 0));
            assert!(health.members.iter().all(|member| member.lag_entries.is_none()));
        }
        assert_eq!(judged([Err(""), Err(""), Err("")]).health(), kv::Health::NotInitialized);
    }

    #[test]
    fn the_lag_of_a_member_that_does_not_answer_is_not_known() {
        let replication = vec![
            kv::Replication { id: 2, matched_index: 90, answers: true },
            kv::Replication { id: 3, matched_index: 0, answers: false },
        ];
        let leading = kv::StatusResponse { replication, ..leading() };
        let lags = [1, 2, 3, 4].map(|id| lag(&leading, id));
        assert_eq!(lags, [Some(0), Some(10), None, None]);
    }
}
