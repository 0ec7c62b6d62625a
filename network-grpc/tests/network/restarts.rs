//! What a correct peer may say after a restart, it is heard for: every check on a peer's messages,
//! with the restart that brings it closest to a mistake.
use crate::support::log_store::LogStore;
use crate::support::node::{Node, cluster, three};
use crate::support::state_machine::StateMachine;
use crate::support::{Blob, eventually};

type Dead = (u64, String, LogStore, StateMachine);

async fn restart((id, address, log, state): Dead) -> Node {
    Node::start_with(id, &address, log, state).await
}

async fn write(leader: &Node, count: usize) {
    for _ in 0..count {
        leader.raft.client_write(Blob::of(1)).await.unwrap();
    }
}

/// Which of `nodes` leads a quorum, once one does.
async fn leader(nodes: &[Node]) -> &Node {
    eventually("a leader with a quorum", || async {
        for node in nodes {
            if node.leads_a_quorum().await {
                return true;
            }
        }
        false
    })
    .await;
    nodes.iter().find(|node| node.is_leader()).unwrap()
}

/// All have applied `len` blobs, the same.
async fn agree(nodes: &[Node], len: usize) {
    eventually("all to have applied everything", || async { nodes.iter().all(|n| n.state.len() == len) })
        .await;
    assert!(nodes.iter().all(|node| node.state.blobs() == nodes[0].state.blobs()));
}

/// The leader of `size` nodes writes an entry that no other node gets, because all have died. It is
/// restarted with the `back` of them that make a quorum with it, and no other can be elected.
async fn the_newest_log_wins(size: u64, back: usize) {
    let mut nodes = cluster(size).await;
    write(&nodes[0], 10).await;
    agree(&nodes, 10).await;
    let mut followers: Vec<Dead> = nodes.drain(1..).map(Node::kill).collect();
    nodes[0].append_alone().await;
    let mut again = vec![restart(nodes.remove(0).kill()).await];
    for dead in followers.drain(..back) {
        again.push(restart(dead).await);
    }
    assert_eq!(leader(&again).await.id, 1, "the others have not got its last entry");
    write(&again[0], 1).await;
    agree(&again, 12).await;
}

/// Found with two of three alive: the follower's answers to the pre-votes of the restarted leader
/// carried that leader's own vote, which it had followed last. They were refused as a claim that
/// the leader had never made, and there was no leader for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_leader_that_alone_has_the_newest_log_is_elected() {
    the_newest_log_wins(3, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_of_five_with_two_that_are_left() {
    the_newest_log_wins(5, 2).await;
}

/// Each time the one that leads is restarted; the other has its vote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_voters_left_of_three_elect_after_every_restart_of_their_leader() {
    let mut nodes = three().await;
    nodes.remove(2).kill();
    for round in 1..=3 {
        let led = leader(&nodes).await.id;
        write(leader(&nodes).await, 1).await;
        agree(&nodes, round).await;
        let at = nodes.iter().position(|node| node.id == led).unwrap();
        let dead = nodes.remove(at).kill();
        nodes.push(restart(dead).await);
    }
    write(leader(&nodes).await, 1).await;
    agree(&nodes, 4).await;
}

/// The restarted old leader has an entry that the others replace: its log is truncated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_leader_gives_up_what_the_others_never_got() {
    let mut nodes = three().await;
    write(&nodes[0], 10).await;
    agree(&nodes, 10).await;
    let followers: Vec<Dead> = nodes.drain(1..).map(Node::kill).collect();
    nodes[0].append_alone().await;
    let old = nodes.remove(0).kill();
    let mut again = Vec::new();
    for dead in followers {
        again.push(restart(dead).await);
    }
    write(leader(&again).await, 5).await;
    again.push(restart(old).await);
    agree(&again, 15).await;
}

/// A snapshot comes from a leader that was elected while the receiver was dead, over a log of the
/// leader before; then the receiver is restarted again, and takes part in an election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_after_a_change_of_leader_reaches_a_restarted_follower() {
    let mut nodes = three().await;
    write(&nodes[0], 10).await;
    agree(&nodes, 10).await;
    let dead = nodes.remove(2).kill();
    nodes[0].raft.trigger().transfer_leader(2).await.unwrap();
    eventually("node 2 to lead", || nodes[1].leads_a_quorum()).await;
    write(&nodes[1], 10).await;
    nodes[1].raft.trigger().snapshot().await.unwrap();
    eventually("the log to be purged", || async { nodes[1].log.purged_index() > Some(15) }).await;

    nodes.push(restart(dead).await);
    agree(&nodes, 20).await;
    assert!(nodes[2].state.installed() >= 1, "the log was purged");
    let dead = nodes.remove(2).kill();
    nodes.push(restart(dead).await);
    nodes.remove(1).kill();
    write(leader(&nodes).await, 1).await;
    agree(&nodes, 21).await;
}
