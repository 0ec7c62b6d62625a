//! The queue on three processes: pushed and popped over HTTP on any node, a pop that is sent again
//! after the kill of all answers the same item, and a new member has what is left.
use crate::support::{Cluster, Node, until};
use serde_json::{Value, json};

/// Pops under a name.
fn pop(node: &Node, sequence: u64) -> Value {
    let client = ("client-id", "00112233445566778899aabbccddeeff");
    node.ask_as("/write", &[client, ("sequence", &sequence.to_string())], &json!("Pop"))
}

#[test]
fn every_item_is_popped_once_over_the_kill_of_all_and_on_a_new_member() {
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_queue"));
    let push = |node: &Node, item: &str| node.ask("/write", &json!({ "Push": item }));
    let numbers: Vec<_> = ["bread", "milk", "tea", "rice"]
        .iter()
        .zip([0, 1, 2, 0])
        .map(|(item, node)| push(&cluster.nodes[node], item)["Pushed"]["number"].as_u64().unwrap())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(pop(&cluster.nodes[2], 1), json!({ "Popped": "bread" }));

    cluster.kill_and_restart_all();
    assert_eq!(pop(&cluster.nodes[0], 1), json!({ "Popped": "bread" }), "sent again");
    assert_eq!(pop(&cluster.nodes[1], 2), json!({ "Popped": "milk" }));
    let waiting = |node: &Node, path: &str| node.ask(path, &json!("Waiting"));
    assert_eq!(waiting(&cluster.nodes[2], "/read"), json!(["tea", "rice"]));

    let fourth = cluster.join();
    let applied = || match waiting(fourth, "/read-stale") {
        items if items == json!(["tea", "rice"]) => Ok(()),
        items => Err(items),
    };
    until("the new member has what is left", applied);
    assert_eq!(pop(fourth, 3), json!({ "Popped": "tea" }));
    assert_eq!(pop(&cluster.nodes[0], 4), json!({ "Popped": "rice" }));
    assert_eq!(pop(&cluster.nodes[1], 5), json!({ "Popped": null }));
}
