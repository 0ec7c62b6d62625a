//! A cluster that is administered over HTTP alone: questions and changes as JSON, refusals with the
//! codes of `/write`, and a node whose storage is damaged, which says so at every path.
use std::path::Path;

use crate::support::{Cluster, Node, until};
use serde_json::{Value, json};

const QUEUE: &str = env!("CARGO_BIN_EXE_queue");

/// Ids of the voters, and of the others.
fn members(answer: &Value) -> (Vec<u64>, Vec<u64>) {
    let members = answer.as_array().unwrap_or_else(|| panic!("{answer}"));
    let ids = |voters: bool| {
        let of = members.iter().filter(|member| member["voter"] == voters);
        of.map(|member| member["id"].as_u64().unwrap()).collect()
    };
    (ids(true), ids(false))
}

/// Refused, and nothing was changed.
fn refused(node: &Node, path: &str, body: &Value) -> String {
    let answer = node.post(path, &[], body).unwrap();
    assert_eq!((answer.code, &answer.json()["applied"]), (422, &json!("no")), "{path} {body}: {answer:?}");
    answer.json()["error"].as_str().unwrap().to_owned()
}

fn leader(node: &Node) -> u64 {
    let led = || {
        let status = node.get("/admin/status").unwrap().json();
        status["leader_id"].as_u64().ok_or(status)
    };
    until("there is a leader", led)
}

#[test]
fn a_cluster_is_administered_over_http() {
    let mut cluster = Cluster::start(QUEUE);
    let fourth = cluster.start_one_more();
    let (raft, client) = (fourth.raft_addr(), fourth.client_addr());
    let node = &cluster.nodes[0];
    assert_eq!(members(&node.ask("/admin/init", &Value::Null)), (vec![1, 2, 3], vec![]), "harmless");

    let adding = json!({ "id": 4, "raft_addr": raft, "client_addr": client });
    let added = node.ask("/admin/add-learner", &adding);
    assert_eq!(members(&added["members"]), (vec![1, 2, 3], vec![4]));
    assert!(added["catching_up"].is_boolean(), "{added}");
    assert_eq!(members(&node.ask("/admin/promote", &json!({ "id": 4 }))), (vec![1, 2, 3, 4], vec![]));
    let shown = cluster.nodes[3].get("/admin/members").unwrap();
    assert_eq!(members(&shown.json()), (vec![1, 2, 3, 4], vec![]));
    assert_eq!(shown.json()[3]["raft_addr"], json!(raft), "{shown:?}");

    // Each asked of another node than the one that does it.
    let next = leader(node) % 4 + 1;
    let led = cluster.nodes[2].ask("/admin/transfer-leader", &json!({ "to": next }));
    assert!(led["leader_id"].is_u64(), "{led}");
    let other = cluster.nodes.iter().map(|node| node.id).find(|id| *id != leader(node)).unwrap();
    let changed = node.ask("/admin/change-membership", &json!({ "remove": [other] }));
    assert!(!members(&changed).0.contains(&other), "{changed}");
    assert_eq!(members(&changed).0.len(), 3);
    let status = cluster.nodes.iter().find(|node| node.id != other).unwrap().get("/admin/status").unwrap();
    assert_eq!(status.json()["members"].as_array().unwrap().len(), 3, "{status:?}");
}

#[test]
fn a_change_that_makes_no_sense_is_refused_with_its_reason() {
    let mut cluster = Cluster::start(QUEUE);
    let node = &cluster.nodes[0];
    for (path, body, reason) in [
        ("/admin/promote", json!({ "id": 4 }), "4"),
        ("/admin/promote", json!({}), "missing field `id`"),
        ("/admin/promote", json!({ "id": 1, "froce": true }), "unknown field `froce`"),
        ("/admin/remove", json!({ "id": "one" }), "expected u64"),
        ("/admin/change-membership", json!({}), "at least one node"),
        ("/admin/add-learner", json!({ "id": 4, "raft_addr": "n", "client_addr": "n:1" }), "address"),
        ("/admin/transfer-leader", json!({ "to": 9 }), "9"),
        ("/admin/set-address", json!({ "id": 9, "raft_addr": "127.0.0.1:1" }), "9"),
    ] {
        let error = refused(node, path, &body);
        assert!(error.contains(reason), "{path} {body}: {error}");
    }
    let moved = json!({ "id": 2, "client_addr": "127.0.0.1:1" });
    let error = refused(node, "/admin/set-address", &moved);
    assert!(error.contains("127.0.0.1:1"), "it does not answer there: {error}");
    assert_eq!(node.get("/admin/promote").unwrap().code, 405);

    // Two of three: of what would remain, one answers.
    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    let alone = || {
        let answer = node.post("/admin/remove", &[], &json!({ "id": 2 })).unwrap();
        if answer.code == 422 { Ok(answer.json()) } else { Err(answer) }
    };
    let error = until("the quorum is kept", alone);
    assert!(error["error"].as_str().unwrap().contains("majority"), "{error}");
    let still = node.get("/admin/members").unwrap();
    assert_eq!(members(&still.json()), (vec![1, 2, 3], vec![]));
}

/// The directory of the newest table of the state.
fn damage(data_dir: &Path) {
    let tables = std::fs::read_dir(data_dir.join("storage/state")).unwrap();
    let current = tables.map(|table| table.unwrap().path().join("CURRENT")).find(|current| current.exists());
    std::fs::remove_file(current.expect("a table")).unwrap();
}

#[test]
fn a_damaged_node_says_so_at_every_path() {
    let mut cluster = Cluster::start(QUEUE);
    cluster.nodes[2].ask("/write", &json!({ "Push": "bread" }));
    let snapshot = cluster.nodes[2].ask("/admin/snapshot", &Value::Null);
    assert!(snapshot["snapshot_index"].as_u64().unwrap() > 0, "{snapshot}");
    cluster.nodes[2].ask_to_stop();
    assert!(cluster.nodes[2].ended().success());
    damage(&cluster.data_dir(2));
    cluster.restart(2);
    let node = &cluster.nodes[2];
    let status = until("it listens", || node.get("/admin/status")).json();
    let fault = status["fault"].as_str().unwrap_or_else(|| panic!("{status}"));
    assert!(fault.contains("table-"), "{fault}");

    let waiting = json!("Waiting");
    let one = json!({ "id": 1 });
    let answers = [
        node.post("/write", &[], &json!("Pop")),
        node.post("/read", &[], &waiting),
        node.post("/read-stale", &[], &waiting),
        node.get("/admin/members"),
        node.post("/admin/init", &[], &Value::Null),
        node.post("/admin/promote", &[], &one),
        node.post("/admin/remove", &[], &one),
        node.post("/admin/transfer-leader", &[], &json!({ "to": 1 })),
        node.post("/admin/snapshot", &[], &Value::Null),
    ];
    for answer in answers {
        let answer = answer.unwrap();
        let error = answer.json();
        assert_eq!((answer.code, &error["applied"]), (503, &json!("no")), "{answer:?}");
        assert!(error["error"].as_str().unwrap().contains("table-"), "{answer:?}");
    }
    assert_eq!(cluster.nodes[0].ask("/write", &json!("Pop")), json!({ "Popped": "bread" }));
    cluster.nodes[2].ask_to_stop();
    assert_eq!(cluster.nodes[2].ended().code(), Some(1));
}

/// Series are named after the application, not after another one.
#[test]
fn the_metrics_have_the_name_of_the_application() {
    let cluster = Cluster::start(QUEUE);
    cluster.nodes[0].ask("/write", &json!({ "Push": "bread" }));
    let metrics = cluster.nodes[0].get("/metrics").unwrap().body;
    for series in
        ["queue_requests_total{op=\"write\",outcome=\"ok\"}", "queue_node_info{", "queue_node_problems "]
    {
        assert!(metrics.contains(&format!("\n{series}")), "{series}: {metrics}");
    }
    assert!(!metrics.contains("kv_") && !metrics.contains("kvnode"), "{metrics}");
}
