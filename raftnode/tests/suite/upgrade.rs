//! A cluster is upgraded while it runs: node by node, from a program of schema 1 to one of schema
//! 2, which has one command more and does another one differently.

use raftnode::{Application, At, Error, Node, NodeConfig, StartError, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::nodes::{configs, until};

const NODES: u64 = 3;

/// What the first program knows.
#[derive(Debug, Serialize, Deserialize)]
enum OldCommand {
    Add(u64),
}

/// What the second knows: a variant more.
#[derive(Debug, Serialize, Deserialize)]
enum NewCommand {
    Add(u64),
    Clear,
}

/// A sum.
struct Old;
/// The same, which can be cleared; and from schema 2 on each addition counts twice.
struct New;

fn sum(txn: &mut Transaction<'_, '_>) -> Result<u64, StorageError> {
    Ok(txn.load(b"sum")?.unwrap_or_default())
}

fn set(txn: &mut Transaction<'_, '_>, sum: u64) -> Result<u64, StorageError> {
    txn.store(b"sum", &sum)?;
    Ok(sum)
}

impl Application for Old {
    const SCHEMA: u32 = 1;
    type Command = OldCommand;
    type Response = u64;
    type Query = ();
    type Answer = u64;

    fn apply(
        &self,
        txn: &mut Transaction<'_, '_>,
        _at: At,
        OldCommand::Add(more): OldCommand,
    ) -> Result<u64, StorageError> {
        let sum = sum(txn)? + more;
        set(txn, sum)
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.load(b"sum")?.unwrap_or_default())
    }
}

impl Application for New {
    const SCHEMA: u32 = 2;
    type Command = NewCommand;
    type Response = u64;
    type Query = ();
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction<'_, '_>, at: At, command: NewCommand) -> Result<u64, StorageError> {
        let sum = match command {
            NewCommand::Add(more) if at.schema >= 2 => sum(txn)? + 2 * more,
            NewCommand::Add(more) => sum(txn)? + more,
            NewCommand::Clear => 0,
        };
        set(txn, sum)
    }

    fn query(&self, view: &mut View<'_, '_>, (): ()) -> Result<u64, StorageError> {
        Ok(view.load(b"sum")?.unwrap_or_default())
    }

    fn since(command: &NewCommand) -> u32 {
        match command {
            NewCommand::Add(_) => 1,
            NewCommand::Clear => 2,
        }
    }
}

/// A node, whichever program it runs.
enum Program {
    Old(Node<Old>),
    New(Node<New>),
}

impl Program {
    async fn add(&self, more: u64) -> Result<u64, Error> {
        match self {
            Self::Old(node) => node.write(OldCommand::Add(more)).await,
            Self::New(node) => node.write(NewCommand::Add(more)).await,
        }
    }

    async fn clear(&self) -> Result<u64, Error> {
        match self {
            Self::Old(_) => panic!("the old program has no such command"),
            Self::New(node) => node.write(NewCommand::Clear).await,
        }
    }

    async fn sum(&self) -> Result<u64, Error> {
        match self {
            Self::Old(node) => node.read(()).await,
            Self::New(node) => node.read(()).await,
        }
    }

    async fn stop(self) {
        match self {
            Self::Old(node) => node.stop().await,
            Self::New(node) => node.stop().await,
        }
    }
}

async fn added(node: &Program, more: u64) -> u64 {
    until("an addition", async || match node.add(more).await {
        Ok(sum) => Ok(sum),
        Err(Error::NotApplied(e)) => Err(e),
        Err(e) => panic!("{e}"),
    })
    .await
}

/// Found missing: two programs side by side served nothing but on the nodes that had the leader's,
/// and an old program that met a new command stopped. Here every node serves all the time, a new
/// command is refused until every member understands it, and what `apply` does anew it does from
/// one position on, on all members.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_upgraded_node_by_node_while_it_serves() {
    let dir = TempDir::new().unwrap();
    let configs = configs(dir.path(), NODES);
    let mut nodes = Vec::new();
    for config in &configs {
        nodes.push(Program::Old(Node::builder(Old).start(config.clone()).await.unwrap()));
    }
    let Program::Old(first) = &nodes[0] else { unreachable!() };
    first.init().await.unwrap();
    let mut sum = added(&nodes[0], 1).await;

    for at in 0..nodes.len() {
        nodes.remove(at).stop().await;
        let new = until("the new program", async || {
            Node::builder(New).start(configs[at].clone()).await.map_err(|e| e.to_string())
        });
        nodes.insert(at, Program::New(new.await));
        for node in &nodes {
            let before = sum;
            sum = added(node, 1).await;
            let all_are_new = at + 1 == nodes.len();
            assert!(sum == before + 1 || all_are_new && sum == before + 2, "{before} and 1 are {sum}");
        }
        if at + 1 < nodes.len() {
            let refused = nodes[at].clear().await.unwrap_err();
            let is_refused = matches!(&refused, Error::Refused(text) if text.contains("schema 2"));
            assert!(is_refused || matches!(refused, Error::NotApplied(_)), "{refused}");
        }
    }

    let cleared = until("schema 2 is in force", async || match nodes[1].clear().await {
        Ok(sum) => Ok(sum),
        Err(Error::NotApplied(e) | Error::Refused(e)) => Err(e),
        Err(e) => panic!("{e}"),
    });
    assert_eq!(cleared.await, 0);
    assert_eq!(added(&nodes[2], 5).await, 10, "it counts twice from schema 2 on");
    for node in &nodes {
        let sum = until("a sum", async || match node.sum().await {
            Ok(sum) => Ok(sum),
            Err(Error::NotApplied(e)) => Err(e),
            Err(e) => panic!("{e}"),
        });
        assert_eq!(sum.await, 10);
    }

    there_is_no_way_back(&configs[2], nodes.pop().unwrap()).await;
    for node in nodes {
        node.stop().await;
    }
}

/// The old program on the data of the new one is refused before it does anything, or, where the
/// state on disk does not tell yet, stops at the first entry that it does not understand.
async fn there_is_no_way_back(config: &NodeConfig, node: Program) {
    node.stop().await;
    let old = until("the sockets are free", async || match Node::builder(Old).start(config.clone()).await {
        Err(e @ StartError::Bind(_)) => Err(e.to_string()),
        started => Ok(started),
    });
    match old.await {
        Err(e) => assert!(matches!(e, StartError::Schema { found: 2, own: 1, .. }), "{e}"),
        Ok(node) => {
            let said = until("it says why it does not serve", async || {
                let fault = node.status().await.fault;
                if fault.is_empty() { Err("no fault".to_owned()) } else { Ok(fault) }
            });
            let said = said.await;
            assert!(said.contains("schema 2"), "{said}");
            node.stop().await;
        }
    }
}
