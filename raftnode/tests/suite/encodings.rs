//! A command is bytes from the node that takes it to the logs of all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use raftnode::{Application, At, Node, StorageError, Transaction, View};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::nodes::{DEADLINE, LOOK_AGAIN, again, cluster};

const WRITES: u64 = 50;

/// How often a command was encoded, and decoded, in this process: by all its nodes.
static ENCODED: AtomicU64 = AtomicU64::new(0);
static DECODED: AtomicU64 = AtomicU64::new(0);

struct Counted(u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        u64::deserialize(deserializer).map(Self)
    }
}

struct Sum;

impl Application for Sum {
    const SCHEMA: u32 = 1;
    type Command = Counted;
    type Response = ();
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, add: Counted) -> Result<(), StorageError> {
        let sum: u64 = txn.load(b"sum")?.unwrap_or_default();
        txn.store(b"sum", &(sum + add.0))
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.load(b"sum")?.unwrap_or_default())
    }
}

async fn until_all_have(nodes: &[Node<Sum>], sum: u64) {
    let started = Instant::now();
    for node in nodes {
        while node.read_stale(()).await.unwrap() < sum {
            assert!(started.elapsed() < DEADLINE, "node {} lacks writes", node.id());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// How often the commands of `WRITES` writes through `node` are encoded and decoded; none if the
/// leader changed meanwhile, or a write was tried twice.
async fn of_writes(nodes: &[Node<Sum>], node: &Node<Sum>, sum: &mut u64) -> Option<(u64, u64)> {
    let before = (node.status().await.term, ENCODED.load(Ordering::Relaxed), DECODED.load(Ordering::Relaxed));
    let mut attempts = 0;
    for _ in 0..WRITES {
        let attempt = async || {
            attempts += 1;
            node.write(Counted(1)).await
        };
        again(attempt).await.unwrap();
    }
    *sum += WRITES;
    until_all_have(nodes, *sum).await;
    let (encoded, decoded) = (ENCODED.load(Ordering::Relaxed), DECODED.load(Ordering::Relaxed));
    let undisturbed = attempts == WRITES && node.status().await.term == before.0;
    undisturbed.then(|| (encoded - before.1, decoded - before.2))
}

/// The node that takes a command encodes it, reads it back and compares. From there on it is never
/// encoded again: not on its way to the leader, not for the log, not for the followers or their
/// logs. It is read where it is applied, and by a leader that another node passes it on to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_encoded_where_it_comes_in_and_decoded_where_it_is_applied() {
    let home = tempfile::tempdir().unwrap();
    let nodes: [Node<Sum>; 3] = cluster(home.path(), || Sum).await;
    let mut sum = 0;
    for node in &nodes {
        let started = Instant::now();
        let counted = loop {
            if let Some(counted) = of_writes(&nodes, node, &mut sum).await {
                break counted;
            }
            assert!(started.elapsed() < DEADLINE, "the leader does not stay");
        };
        let hops = u64::from(!node.leads());
        let decoded = 1 + hops + nodes.len() as u64;
        assert_eq!(counted, (2 * WRITES, decoded * WRITES), "through node {}", node.id());
    }
    for node in &nodes {
        node.stop().await;
    }
}
