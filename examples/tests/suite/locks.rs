//! The lock service on three processes: taken over HTTP on any node, kept over the kill of all, and
//! had by a new member.
use crate::support::{Cluster, Node, until};
use serde_json::json;

#[test]
fn locks_are_kept_over_the_kill_of_all_and_had_by_a_new_member() {
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_locks"));
    let acquire =
        |owner: &str| json!({ "Acquire": { "lock": "build", "owner": owner, "ttl_ms": 3_600_000 } });
    let granted = cluster.nodes[1].ask("/write", &acquire("ann"));
    let token = granted["Granted"]["token"].as_u64().unwrap_or_else(|| panic!("{granted}"));
    assert_eq!(cluster.nodes[2].ask("/write", &acquire("bob")), json!({ "Queued": { "ahead": 0 } }));
    let refused = cluster.nodes[0].post("/write", &[], &json!({ "Steal": {} })).unwrap();
    assert_eq!((refused.code, &refused.json()["applied"]), (422, &json!("no")), "{refused:?}");

    cluster.kill_and_restart_all();
    let held = |node: &Node| node.ask("/read", &json!({ "Lock": "build" }));
    assert_eq!(held(&cluster.nodes[0])["Lock"]["holder"]["owner"], "ann");
    let released = json!({ "Release": { "lock": "build", "owner": "ann", "token": token } });
    assert_eq!(cluster.nodes[1].ask("/write", &released), json!({ "Released": { "next": "bob" } }));

    let fourth = cluster.join();
    // What it has applied so far.
    let applied = || match fourth.ask("/read-stale", &json!({ "Acquisitions": "bob" })) {
        seen if seen == json!({ "Acquisitions": 1 }) => Ok(()),
        seen => Err(seen),
    };
    until("the new member has what was acquired", applied);
    assert_eq!(held(fourth)["Lock"]["holder"]["owner"], "bob");
}
