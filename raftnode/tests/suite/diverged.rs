//! A node that has applied something else than the others stops, and says where they part.

use raftnode::{Application, At, Node, NodeConfig, StorageError, Transaction, View};
use tempfile::TempDir;

use crate::nodes::{configs, until};

/// The command that is applied wrongly.
const WRONG_AT: u64 = 7;

/// Keeps a number; on a node that is wrong, one of them has a bit flipped. Responses are the same:
/// nothing but the state tells.
struct Number {
    is_wrong: bool,
}

impl Application for Number {
    const SCHEMA: u32 = 1;
    type Command = u64;
    type Response = ();
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, _: At, number: u64) -> Result<(), StorageError> {
        let flipped = u64::from(self.is_wrong && number == WRONG_AT) << 40;
        txn.store(b"number", &(number ^ flipped))
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.load(b"number")?.unwrap_or_default())
    }
}

async fn start(config: &NodeConfig, is_wrong: bool) -> Node<Number> {
    let started = async || {
        let node = Node::builder(Number { is_wrong }).start(config.clone()).await;
        node.map_err(|e| e.to_string())
    };
    until("a start", started).await
}

/// The leader may stop meanwhile; the same number once more changes nothing.
async fn write(node: &Node<Number>, number: u64) {
    until("a write", async || node.write(number).await.map_err(|e| e.to_string())).await;
}

async fn fault(node: &Node<Number>) -> String {
    until("it finds that it differs", async || {
        let fault = node.status().await.fault;
        if fault.is_empty() { Err("no fault".to_owned()) } else { Ok(fault) }
    })
    .await
}

/// The wrong command is one of many, long past when the nodes compare: what they say of it does not
/// depend on when they look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_that_differs_stops_and_names_the_entry_and_the_others_go_on() {
    let dir = TempDir::new().unwrap();
    let configs = configs(dir.path(), 3);
    let mut nodes = Vec::new();
    for config in &configs {
        nodes.push(start(config, config.id == 3).await);
    }
    nodes[0].init().await.unwrap();
    for number in 1..=30 {
        write(&nodes[0], number).await;
    }
    let said = fault(&nodes[2]).await;
    assert!(said.contains("is not what nodes 1 and 2 have applied"), "{said}");
    // One entry each: the last that is the same comes right before the first that is not.
    let number = |text: &str| -> u64 {
        let rest = said.split(text).nth(1).unwrap();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    assert_eq!(number("different at log entry "), number("the same at entry ") + 1, "{said}");
    for number in 31..=40 {
        write(&nodes[1], number).await;
    }
    // It is found again after a restart, because what is applied again is as wrong.
    nodes.pop().unwrap().stop().await;
    let again = start(&configs[2], true).await;
    let said = fault(&again).await;
    assert!(said.contains("is not what nodes 1 and 2 have applied"), "{said}");
    for node in &nodes {
        assert_eq!(node.status().await.fault, "");
        assert_eq!(until("a read", async || node.read(()).await.map_err(|e| e.to_string())).await, 40);
    }
    again.stop().await;
    for node in nodes {
        node.stop().await;
    }
}
