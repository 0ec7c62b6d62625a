//! The cluster commands.

use kvcli::wire::{
    ChangeMembershipRequest, Health, HealthResponse, Member, MemberHealth, Role, SetAddressRequest,
    StatusResponse, VoterChange,
};

use crate::fake::{CLUSTER, Changed, Fake, OTHER, closed_address};
use crate::program::run;

/// Three members: a leader, a follower five entries behind, and one that refuses connections. Both
/// that answer say the same about the cluster.
async fn cluster() -> (Fake, Fake, String) {
    let (leader, follower, dead) = (Fake::start().await, Fake::start().await, closed_address());
    let members = members([&leader.address, &follower.address, &dead]);
    let status = StatusResponse {
        version: "0.1.0".into(),
        initialized: true,
        term: 3,
        last_log_index: 10_342,
        committed_index: 10_342,
        applied_index: 10_342,
        log_size_bytes: 3 * 1024 * 1024,
        state_size_bytes: 9 * 1024 * 1024,
        cluster_name: "kv".into(),
        membership_index: 7,
        ..StatusResponse::default()
    };
    let leading = StatusResponse { node_id: 1, role: Role::Leader.into(), ..status.clone() };
    let following = StatusResponse {
        node_id: 2,
        role: Role::Follower.into(),
        last_log_index: 10_340,
        committed_index: 10_337,
        applied_index: 10_337,
        log_size_bytes: 700,
        state_size_bytes: 200,
        ..status
    };
    let about = |member: &Member, status: Option<&StatusResponse>, lag| MemberHealth {
        member: Some(member.clone()),
        status: status.cloned(),
        problems: if status.is_some() { vec![] } else { vec!["does not answer".into()] },
        lag_entries: lag,
    };
    let health = HealthResponse {
        header: None,
        health: Health::Degraded.into(),
        problems: vec![],
        leader_id: 1,
        term: 3,
        members: vec![
            about(&members[0], Some(&leading), Some(0)),
            about(&members[1], Some(&following), Some(5)),
            about(&members[2], None, None),
        ],
        membership_index: 7,
    };
    for (fake, status) in [(&leader, leading), (&follower, following)] {
        fake.with(|state| {
            state.leader = leader.address.clone();
            state.status = StatusResponse { members: members.clone(), ..status };
            state.health = Some(health.clone());
        });
    }
    (leader, follower, dead)
}

fn members(addresses: [&str; 3]) -> Vec<Member> {
    (1..)
        .zip(addresses)
        .map(|(id, address)| Member {
            id,
            raft_addr: format!("10.0.0.{id}:7101"),
            client_addr: address.to_owned(),
            voter: true,
            ..Member::default()
        })
        .collect()
}

fn change_health(fakes: &[&Fake], change: impl Fn(&mut HealthResponse)) {
    for fake in fakes {
        fake.with(|state| change(state.health.as_mut().unwrap()));
    }
}

fn anonymous(text: &str, addresses: [&str; 3]) -> String {
    let ports = ["127.0.0.1:AAAAA", "127.0.0.1:BBBBB", "127.0.0.1:CCCCC"];
    addresses.iter().zip(ports).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

const STATUS: &str = "\
leader  node 1 at 127.0.0.1:AAAAA, term 3
health  degraded: 2 of 3 voters are well, 2 needed
cluster 0123456789abcdef0123456789abcdef (kv)

ID  ROLE         TERM   LAST  COMMITTED  APPLIED  LAG   DB SIZE  CLIENT ADDRESS   RAFT ADDRESS
 1  leader          3  10342      10342    10342    0  12.0 MiB  127.0.0.1:AAAAA  10.0.0.1:7101
 2  follower        3  10340      10337    10337    5     900 B  127.0.0.1:BBBBB  10.0.0.2:7101
 3  unreachable     -      -          -        -    ?         -  127.0.0.1:CCCCC  10.0.0.3:7101
! node 3: does not answer
! cluster: a change is under way
";

#[tokio::test]
async fn status_at_a_glance() {
    let (leader, follower, dead) = cluster().await;
    change_health(&[&leader, &follower], |health| health.problems = vec!["a change is under way".into()]);
    // Whichever is asked first: dead, follower or leader.
    for endpoints in [&leader.address, &format!("{dead},{}", follower.address)] {
        let ended = run(endpoints, &["cluster", "status"]).await.expect_code(1);
        let text = anonymous(ended.text(), [&leader.address, &follower.address, &dead]);
        assert_eq!(text, STATUS, "\n{text}");
        let ended = run(endpoints, &["health"]).await.expect_code(1);
        assert_eq!(ended.text(), "degraded: 2 of 3 voters are well, 2 needed\n");
    }
}

#[tokio::test]
async fn status_as_json() {
    let (leader, _follower, dead) = cluster().await;
    change_health(&[&leader], |health| {
        health.members[2].member.as_mut().unwrap().change = VoterChange::Joining.into();
        health.problems = vec!["a change is under way".into()];
    });
    let json = run(&leader.address, &["cluster", "status", "-o", "json"]).await.expect_code(1).json();
    assert_eq!(json["health"], "degraded");
    assert_eq!((&json["cluster_id"], &json["cluster_name"]), (&CLUSTER.into(), &"kv".into()));
    assert_eq!(json["leader"]["id"], 1);
    assert_eq!(json["leader"]["client_addr"], leader.address);
    assert_eq!((&json["joint"], &json["problems"][0]), (&true.into(), &"a change is under way".into()));
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!((&nodes[1]["lag_entries"], &nodes[1]["role"]), (&5.into(), &"follower".into()));
    assert_eq!((&nodes[2]["reachable"], &nodes[2]["lag_entries"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(
        (&nodes[2]["problems"][0], &nodes[2]["change"]),
        (&"does not answer".into(), &"joining".into())
    );
    assert_eq!(nodes[2]["client_addr"], dead);
    let json = run(&leader.address, &["health", "-o", "json"]).await.expect_code(1).json();
    assert_eq!((&json["health"], &json["voters_well"]), (&"degraded".into(), &2.into()));
}

#[tokio::test]
async fn the_exit_code_is_the_verdict() {
    let (leader, follower, _dead) = cluster().await;
    for (health, code, line) in [
        (Health::Ok, 0, "health  ok: 3 of 3 voters answer\n"),
        (Health::Degraded, 1, "health  degraded: "),
        (Health::NotInitialized, 1, "health  not initialised; "),
        (Health::Unavailable, 2, "health  UNAVAILABLE: no leader; "),
    ] {
        change_health(&[&leader, &follower], |answer| {
            answer.health = health.into();
            answer.leader_id = if code == 0 { 1 } else { 0 };
        });
        let ended = run(&leader.address, &["cluster", "status"]).await.expect_code(code);
        assert!(ended.text().contains(line), "{ended:?}");
        assert_eq!(ended.text().starts_with("leader  none\n"), code != 0, "{ended:?}");
        run(&leader.address, &["health"]).await.expect_code(code);
    }
}

/// A deposed leader that has not noticed, a member that has not heard of the last change, and one
/// that sees no leader each answer at once; the node that knows most is believed, wherever it
/// stands.
#[tokio::test]
async fn the_best_answer_counts() {
    let (first, second, _dead) = cluster().await;
    let both =
        [format!("{},{}", first.address, second.address), format!("{},{}", second.address, first.address)];
    change_health(&[&first], |health| {
        health.leader_id = 0;
        health.health = Health::Unavailable.into();
        health.term = 9;
    });
    for endpoints in &both {
        run(endpoints, &["cluster", "status"]).await.expect_code(1);
    }
    change_health(&[&first], |health| {
        health.leader_id = 2;
        health.health = Health::Ok.into();
        health.term = 4;
    });
    for endpoints in &both {
        run(endpoints, &["cluster", "status"]).await.expect_code(0);
    }
    change_health(&[&second], |health| {
        health.term = 4;
        health.membership_index = 8;
    });
    for endpoints in &both {
        run(endpoints, &["cluster", "status"]).await.expect_code(1);
    }
}

#[tokio::test]
async fn a_frozen_endpoint_does_not_hold_up_the_status() {
    let (leader, frozen, _dead) = cluster().await;
    frozen.with(|state| state.frozen = true);
    let endpoints = format!("{},{}", frozen.address, leader.address);
    for args in [&["cluster", "status"][..], &["health"]] {
        let ended = run(&endpoints, args).await.expect_code(1);
        assert!(ended.took.as_secs_f64() < 2.0, "{ended:?}");
    }
    let ended = run(&endpoints, &["cluster", "members"]).await.expect_code(0);
    assert!(ended.took.as_secs_f64() < 2.0, "{ended:?}");
}

#[tokio::test]
async fn endpoints_of_two_clusters_are_not_well() {
    let (leader, stranger, _dead) = cluster().await;
    stranger.with(|state| state.cluster = OTHER.into());
    let endpoints = format!("{},{}", leader.address, stranger.address);
    for args in [&["cluster", "status"][..], &["health"]] {
        let ended = run(&endpoints, args).await.expect_code(1);
        assert!(ended.stdout.is_empty());
        for text in [&leader.address, &stranger.address, CLUSTER, OTHER, "different clusters"] {
            assert!(ended.stderr.contains(text), "{text}: {ended:?}");
        }
    }
    run(&endpoints, &["cluster", "members"]).await.expect_code(3);
    // One can be chosen.
    run(&endpoints, &["cluster", "status", "--cluster", CLUSTER]).await.expect_code(1);
    let ended = run(&endpoints, &["cluster", "members", "--cluster", OTHER]).await.expect_code(0);
    assert!(ended.text().contains("voter"), "{ended:?}");
}

#[tokio::test]
async fn status_before_init() {
    let fake = Fake::start().await;
    fake.with(|state| {
        state.cluster = String::new();
        state.health =
            Some(HealthResponse { health: Health::NotInitialized.into(), ..HealthResponse::default() });
    });
    let ended = run(&fake.address, &["cluster", "status"]).await.expect_code(1);
    let expected = "leader  none\n\
        health  not initialised; to make a new cluster, run `kvcli cluster init`\ncluster none\n";
    assert_eq!(ended.text(), expected);
}

const MEMBERS: &str = "\
ID  KIND            CLIENT ADDRESS   RAFT ADDRESS
 1  voter, leads    127.0.0.1:AAAAA  10.0.0.1:7101
 2  voter, leaving  127.0.0.1:BBBBB  10.0.0.2:7101
 3  voter, joining  127.0.0.1:CCCCC  10.0.0.3:7101
";

#[tokio::test]
async fn members_of_the_leader() {
    let (leader, follower, dead) = cluster().await;
    leader.with(|state| {
        state.status.members[1].change = VoterChange::Leaving.into();
        state.status.members[2].change = VoterChange::Joining.into();
    });
    let addresses = [leader.address.as_str(), &follower.address, &dead];
    let both = format!("{},{}", follower.address, leader.address);
    // The follower, which has not heard of the change, names the leader.
    for endpoints in [&leader.address, &follower.address, &both] {
        let ended = run(endpoints, &["cluster", "members"]).await.expect_code(0);
        assert_eq!(anonymous(ended.text(), addresses), MEMBERS);
    }
    let json = run(&leader.address, &["cluster", "members", "-o", "json"]).await.expect_code(0).json();
    assert_eq!((&json["leader"], &json["members"][2]["id"]), (&1.into(), &3.into()));
    assert_eq!(json["members"][1]["change"], "leaving");
}

#[tokio::test]
async fn members_without_a_leader_are_those_of_the_newest_membership() {
    let (old, new, _dead) = cluster().await;
    for fake in [&old, &new] {
        fake.with(|state| {
            state.leader.clear();
            state.status.role = Role::Follower.into();
        });
    }
    new.with(|state| {
        state.status.membership_index = 8;
        state.status.members.truncate(2);
    });
    for endpoints in [[&old, &new], [&new, &old]] {
        let endpoints = endpoints.map(|fake| fake.address.as_str()).join(",");
        let ended = run(&endpoints, &["cluster", "members"]).await.expect_code(0);
        assert_eq!(ended.text().matches("voter").count(), 2, "{ended:?}");
    }
}

#[tokio::test]
async fn changes() {
    let (leader, _follower, _dead) = cluster().await;
    for (args, operation, answer) in [
        (&["init"][..], "init", "the cluster is initialised\n\nID"),
        (&["add-learner", "4", "h:1", "h:2"], "add_learner", "node 4 is a learner and has caught up\n\nID"),
        (&["add-learner", "3", "h:1", "h:2"], "add_learner", "node 3 is a member that votes already\n\nID"),
        (&["promote", "4", "5"], "change_membership", "nodes 4, 5 vote\n\nID"),
        (&["remove", "1"], "change_membership", "node 1 removed\n\nID"),
        (&["set-address", "3", "--raft", "h:1"], "set_address", "the cluster reaches node 3 there\n\nID"),
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

#[tokio::test]
async fn force_is_sent_only_when_given() {
    let (leader, _follower, _dead) = cluster().await;
    let membership = |promote: &[u64], remove: &[u64], force| {
        let (promote, remove) = (promote.to_vec(), remove.to_vec());
        Changed::Membership(ChangeMembershipRequest { promote, remove, force })
    };
    let address = |raft: &str, client: &str, force| {
        let (raft_addr, client_addr) = (raft.to_owned(), client.to_owned());
        Changed::Address(SetAddressRequest { id: 3, raft_addr, client_addr, force })
    };
    for (line, expected) in [
        ("promote 4", membership(&[4], &[], false)),
        ("promote 4 --force", membership(&[4], &[], true)),
        ("remove 2", membership(&[], &[2], false)),
        ("remove --force 2", membership(&[], &[2], true)),
        ("set-address 3 --client h:2", address("", "h:2", false)),
        ("set-address 3 --raft h:1 --client h:2 --force", address("h:1", "h:2", true)),
    ] {
        let line = format!("cluster {line}");
        let args: Vec<_> = line.split_whitespace().collect();
        run(&leader.address, &args).await.expect_code(0);
        assert_eq!(leader.with(|state| state.last_request.clone()), Some(expected), "{line}");
    }
}

/// Found: a node was added whose Raft address was that of its client port, and the cluster waited
/// for it.
#[tokio::test]
async fn one_address_for_both_ports_is_refused() {
    let (leader, _follower, _dead) = cluster().await;
    for line in ["add-learner 4 h:1 h:1", "set-address 3 --raft h:1 --client h:1"] {
        let line = format!("cluster {line}");
        let args: Vec<_> = line.split_whitespace().collect();
        let ended = run(&leader.address, &args).await.expect_code(3);
        assert!(ended.stderr.contains("h:1"), "{ended:?}");
    }
    assert!(leader.seen().is_empty());
}
