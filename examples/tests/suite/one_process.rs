//! Several nodes of one cluster in a process, as a test of an application or a simulation has them:
//! docs/guide/embedding.md shows this code.
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use raftnode::{Address, Application, At, Error, Node, NodeConfig, StorageError, Transaction, View};
use serde::{Deserialize, Serialize};

const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Adds up what it is sent.
struct Sum;

#[derive(Serialize, Deserialize)]
enum Command {
    Add(u64),
}

#[derive(Serialize, Deserialize)]
enum Query {
    Sum,
}

impl Application for Sum {
    const SCHEMA: u32 = 1;
    type Command = Command;
    type Response = u64;
    type Query = Query;
    type Answer = u64;

    fn apply(&self, txn: &mut Transaction, _: At, Command::Add(more): Command) -> Result<u64, StorageError> {
        let sum = txn.load::<u64>(b"sum")?.unwrap_or(0).wrapping_add(more);
        txn.store(b"sum", &sum)?;
        Ok(sum)
    }

    fn query(&self, view: &mut View, Query::Sum: Query) -> Result<u64, StorageError> {
        Ok(view.load(b"sum")?.unwrap_or(0))
    }
}

/// Addresses on free ports, for clients, peers and HTTP of each node. All are bound before any is
/// given back: they differ.
fn free_addresses() -> [[Address; 3]; 3] {
    let bound = [(); 3].map(|()| [(); 3].map(|()| crate::support::hold_port()));
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string().parse().unwrap();
    bound.each_ref().map(|of_node| of_node.each_ref().map(address))
}

/// Starts the nodes of a new cluster: where each listens for clients, peers and HTTP.
async fn start(home: &Path, addresses: &[[Address; 3]]) -> anyhow::Result<Vec<Node<Sum>>> {
    let listed = |(id, [client, raft, _]): (u64, &[Address; 3])| format!("{id}={raft}/{client}");
    let peers: Vec<_> = (1..).zip(addresses).map(listed).collect();
    let mut nodes = Vec::new();
    for (id, [client, raft, http]) in (1..).zip(addresses.iter().cloned()) {
        let mut config = NodeConfig::new(id, home.join(id.to_string()), client, raft, http);
        config.peers = Some(peers.join(",").parse()?);
        nodes.push(Node::builder(Sum).start(config).await?);
    }
    Ok(nodes)
}

/// Adds within a deadline of its own. Whether it was applied is not known once that has passed.
async fn add(node: &Node<Sum>, more: u64, within: Duration) -> Result<u64, Error> {
    let write = node.write(Command::Add(more));
    let late = |_| Error::Unknown("not answered in time".to_owned());
    tokio::time::timeout(within, write).await.map_err(late)?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_in_one_process_are_a_cluster() {
    let home = tempfile::tempdir().unwrap();
    let nodes = start(home.path(), &free_addresses()).await.unwrap();
    let started = Instant::now();
    while let Err(error) = nodes[0].init().await {
        assert!(started.elapsed() < DEADLINE, "{error}");
        tokio::time::sleep(PAUSE).await;
    }
    for (node, sum) in nodes.iter().zip([1, 3, 6]) {
        let added = loop {
            match add(node, node.id(), DEADLINE).await {
                Err(Error::NotApplied(_)) if started.elapsed() < DEADLINE => {
                    tokio::time::sleep(PAUSE).await;
                }
                ended => break ended,
            }
        };
        assert_eq!(added.unwrap(), sum);
    }
    // A clock ticks every millisecond, and a write may be done before it does.
    let late = add(&nodes[0], 10, Duration::ZERO).await;
    assert!(matches!(late, Err(Error::Unknown(_)) | Ok(16)), "{late:?}");
    let sum = nodes[1].read(Query::Sum).await.unwrap();
    assert!(sum == 6 || sum == 16, "{sum}");

    // One runs until it is asked to stop, beside work that uses it.
    let (first, others) = nodes.split_first().unwrap();
    let answered = first.run_until(first.read(Query::Sum)).await.unwrap();
    assert_eq!(answered.unwrap(), nodes[1].read(Query::Sum).await.unwrap());
    assert!(matches!(first.write(Command::Add(1)).await, Err(Error::NotApplied(_))), "it has stopped");
    for node in others {
        node.stop().await;
    }
}
