//! The cluster commands.

use kvcli::wire::{Member, Replication, Role, StatusResponse};

use crate::fake::{Fake, closed_address};
use crate::program::run;

/// Three members: a leader, a follower five entries behind, and one that refuses connections.
async fn cluster() -> (Fake, Fake, String) {
    let (leader, follower, dead) = (Fake::start().await, Fake::start().await, closed_address());
    let addresses = [&leader.address, &follower.address, &dead];
    let members: Vec<_> = (1..)
        .zip(addresses)
        .map(|(id, address)| Member {
            id,
            raft_addr: format!("10.0.0.{id}:7101"),
            client_addr: address.clone(),
            voter: true,
        })
        .collect();
    let status = StatusResponse {
        version: "0.1.0".into(),
        initialized: true,
        term: 3,
        last_log_index: 10_342,
        committed_index: 10_342,
        applied_index: 10_342,
        log_size_bytes: 3 * 1024 * 1024,
        state_size_bytes: 9 * 1024 * 1024,
        members,
        ..StatusResponse::default()
    };
    let matched = |id, matched_index| Replication { id, matched_index };
    leader.with(|state| {
        state.leader = leader.address.clone();
        state.status = StatusResponse {
            node_id: 1,
            role: Role::Leader.into(),
            replication: vec![matched(2, 10_337), matched(3, 342)],
            ..status.clone()
        };
    });
    follower.with(|state| {
        state.leader = leader.address.clone();
        state.status = StatusResponse {
            node_id: 2,
            role: Role::Follower.into(),
            last_log_index: 10_340,
            committed_index: 10_337,
            applied_index: 10_337,
            log_size_bytes: 700,
            state_size_bytes: 200,
            ..status
        };
    });
    (leader, follower, dead)
}

fn anonymous(text: &str, addresses: [&str; 3]) -> String {
    let ports = ["127.0.0.1:AAAAA", "127.0.0.1:BBBBB", "127.0.0.1:CCCCC"];
    addresses.iter().zip(ports).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

const STATUS: &str = "\
leader  node 1 at 127.0.0.1:AAAAA, term 3
health  degraded: 2 of 3 voters are well, 2 needed

ID  ROLE         TERM   LAST  COMMITTED  APPLIED    LAG   DB SIZE  CLIENT ADDRESS   RAFT ADDRESS
 1  leader          3  10342      10342    10342      0  12.0 MiB  127.0.0.1:AAAAA  10.0.0.1:7101
 2  follower        3  10340      10337    10337      5     900 B  127.0.0.1:BBBBB  10.0.0.2:7101
 3  unreachable     -      -          -        -  10000         -  127.0.0.1:CCCCC  10.0.0.3:7101
! node 3: cannot connect: Connection refused (os error 111)
";

#[tokio::test]
async fn status_at_a_glance() {
    let (leader, follower, dead) = cluster().await;
    // Whichever is asked first: dead, follower or leader.
    for endpoints in [&leader.address, &format!("{dead},{}", follower.address)] {
        let ended = run(endpoints, &["cluster", "status"]).await.expect_code(0);
        let text = anonymous(ended.text(), [&leader.address, &follower.address, &dead]);
        assert_eq!(text, STATUS, "\n{text}");
    }
}

#[tokio::test]
async fn status_as_json() {
    let (leader, _follower, dead) = cluster().await;
    let args = ["cluster", "status", "--output", "json"];
    let json = run(&leader.address, &args).await.expect_code(0).json();
    assert_eq!(json["health"], "degraded");
    assert_eq!(json["leader"]["id"], 1);
    assert_eq!(json["nodes"][1]["lag_entries"], 5);
    assert_eq!(json["nodes"][1]["role"], "follower");
    assert_eq!(json["nodes"][2]["reachable"], false);
    assert_eq!(json["nodes"][2]["client_addr"], dead);
}

#[tokio::test]
async fn status_without_a_leader_says_so() {
    let (leader, follower, _dead) = cluster().await;
    for node in [&leader, &follower] {
        node.with(|state| state.status.role = Role::Candidate.into());
    }
    let text = run(&leader.address, &["cluster", "status"]).await.expect_code(0);
    assert!(text.text().starts_with("leader  none\nhealth  UNAVAILABLE: no leader;"), "{text:?}");
}

#[tokio::test]
async fn status_shows_a_fault_and_a_stranger() {
    let (leader, follower, _dead) = cluster().await;
    follower.with(|state| {
        state.status.fault = "state/000012.ldb: checksum mismatch".into();
    });
    leader.with(|state| state.status.node_id = 9);
    let ended = run(&leader.address, &["cluster", "status"]).await.expect_code(0);
    assert!(ended.text().contains("\n! node 2: state/000012.ldb: checksum mismatch\n"), "{ended:?}");
    assert!(ended.text().contains("\n! node 1: node 9 answers at its address\n"), "{ended:?}");
    assert!(ended.text().contains("health  degraded: 0 of 3"), "{ended:?}");
}

#[tokio::test]
async fn status_before_init() {
    let fake = Fake::start().await;
    fake.with(|state| state.status.node_id = 1);
    let ended = run(&fake.address, &["cluster", "status"]).await.expect_code(0);
    assert!(ended.text().contains("health  not initialised; run `kvcli cluster init`"), "{ended:?}");
}

const MEMBERS: &str = "\
ID  KIND          CLIENT ADDRESS   RAFT ADDRESS
 1  voter, leads  127.0.0.1:AAAAA  10.0.0.1:7101
 2  voter         127.0.0.1:BBBBB  10.0.0.2:7101
 3  voter         127.0.0.1:CCCCC  10.0.0.3:7101
";

#[tokio::test]
async fn members() {
    let (leader, follower, dead) = cluster().await;
    let ended = run(&leader.address, &["cluster", "members"]).await.expect_code(0);
    let addresses = [leader.address.as_str(), &follower.address, &dead];
    assert_eq!(anonymous(ended.text(), addresses), MEMBERS);
    let args = ["cluster", "members", "--output", "json"];
    let json = run(&leader.address, &args).await.expect_code(0).json();
    assert_eq!((&json["leader"], &json["members"][2]["id"]), (&1.into(), &3.into()));
}

#[tokio::test]
async fn changes() {
    let (leader, _follower, _dead) = cluster().await;
    for (args, operation, answer) in [
        (&["init"][..], "init", "the cluster is initialised\n\nID"),
        (&["add-learner", "4", "h:1", "h:2"], "add_learner", "node 4 is a learner and has caught up\n\nID"),
        (&["promote", "4", "5"], "change_membership", "nodes 4, 5 vote\n\nID"),
        (&["remove", "1"], "change_membership", "node 1 removed\n\nID"),
        (&["transfer-leader", "2"], "transfer_leader", "node 2 leads\n"),
        (&["snapshot"], "snapshot", "node 1 built a snapshot up to log index 42\n"),
    ] {
        let ended = run(&leader.address, &[&["cluster"], args].concat()).await.expect_code(0);
        assert!(ended.text().starts_with(answer), "{ended:?}");
        assert_eq!(leader.seen().last().unwrap().operation, operation);
        let json = ["--output", "json"];
        run(&leader.address, &[&["cluster"], args, &json].concat()).await.expect_code(0).json();
    }
}
