//! A replicated queue, first in, first out: an openraft application of its own on `storage-leveldb` and
//! `network-grpc`, in less than a hundred lines. `cargo run --release -p examples --bin queue` tells a story
//! with three nodes in one process and ends with an error if anything in it is not as it should be.
//!
//! From the top: the application, how a node is put together, a client, the story.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use network_grpc::{GrpcNetwork, NetworkOptions, RaftService, incoming, server_builder};
use openraft::errors::{ClientWriteError::ForwardToLeader, RaftError};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use storage_leveldb::{Application, KeyRange, Options, ScanLimit, StateMachine, StateReader, Storage};
use storage_leveldb::{StorageError, Transaction, View};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

const CLUSTER_ID: &str = "queue-example";
const LISTED: ScanLimit = ScanLimit { pairs: 100, bytes: 64 * 1024 };
const FIRST: ScanLimit = ScanLimit { pairs: 1, ..LISTED };
const MAX_TRIES: usize = 400;
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const WAIT_DEADLINE: Option<Duration> = Some(Duration::from_secs(20));

// A command is a line of text, `push ITEM` or `pop`; the response is the item popped, if there was one.
openraft::declare_raft_types!(Types: D = String, R = Option<String>, NodeId = u64, Node = BasicNode);

/// Items are stored under the log index of their push: the order of keys is the order of the queue.
struct Queue;

impl Application<Types> for Queue {
    type Query = ();
    type Answer = Vec<String>;

    fn apply(
        &self,
        txn: &mut Transaction,
        index: u64,
        command: &String,
    ) -> Result<Option<String>, StorageError> {
        if let Some(item) = command.strip_prefix("push ") {
            txn.put(&index.to_be_bytes(), item.as_bytes());
            return Ok(None);
        }
        let first = txn.scan(KeyRange::all(), FIRST)?.pop();
        first.iter().for_each(|(key, _)| txn.delete(key));
        Ok(first.map(|(_, item)| String::from_utf8_lossy(&item).into_owned()))
    }

    fn query(&self, view: &mut View, (): ()) -> Result<Vec<String>, StorageError> {
        let items = view.scan(KeyRange::all(), LISTED)?;
        Ok(items.iter().map(|(_, item)| String::from_utf8_lossy(item).into_owned()).collect())
    }
}

/// A running node. It has a runtime of its own, so that dropping it ends everything at once, as a crash does.
struct Node {
    address: String,
    raft: Raft<Types, StateMachine<Types, Queue>>,
    reader: StateReader<Types, Queue>,
    runtime: Runtime,
}

fn start(home: &TempDir, id: u64, address: &str) -> Result<Node> {
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let address = listener.local_addr()?.to_string();
    println!("node {id} starts at {address}");
    let dir = home.path().join(id.to_string());
    let storage = runtime.block_on(Storage::open(&dir, Queue, Options::default()))?;

    // openraft's own timing is too tight for a disk that syncs; the log is kept short to need snapshots.
    let mut config = Config { heartbeat_interval: 150, election_timeout_min: 600, ..Config::default() };
    config.election_timeout_max = 1200;
    config.snapshot_policy = SnapshotPolicy::LogsSinceLast(3);
    config.max_in_snapshot_log_to_keep = 0;
    let options = NetworkOptions::default();
    let network = GrpcNetwork::new(CLUSTER_ID, options.clone());
    let raft = Raft::new(id, Arc::new(config.validate()?), network, storage.log, storage.state);
    let raft = runtime.block_on(raft)?;

    let inbox = move || {
        let inbox = storage.inbox.clone();
        async move { inbox.create().await }
    };
    let service = RaftService::new(raft.clone(), CLUSTER_ID, id, inbox, options.clone());
    let server = server_builder(&options).add_service(service.into_server());
    runtime.spawn(server.serve_with_incoming(incoming(listener)));
    Ok(Node { address, raft, reader: storage.reader, runtime })
}

/// Has the leader, whichever node that is, apply `command`; answers the log index. A node that refuses because
/// it does not lead has not taken the command. After any other error it may have, so that is not retried.
fn ask(nodes: &[Node], command: &str, expected: Option<&str>) -> Result<u64> {
    for node in nodes.iter().cycle().take(MAX_TRIES) {
        let asked = node.runtime.block_on(node.raft.client_write(command.to_owned()));
        if !matches!(asked, Err(RaftError::APIError(ForwardToLeader(_)))) {
            let (entry, answer) = asked.map(|done| (done.log_id, done.data))?;
            println!("    {command:<12}{:<16}log entry {entry}", answer.as_deref().unwrap_or_default());
            ensure!(answer.as_deref() == expected, "the answer should have been {expected:?}");
            return Ok(entry.index);
        }
        thread::sleep(RETRY_PAUSE);
    }
    bail!("no node has become the leader")
}

fn main() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut nodes = (1..=3).map(|id| start(&home, id, "127.0.0.1:0")).collect::<Result<Vec<_>>>()?;
    let members = (1..).zip(nodes.iter().map(|node| BasicNode::new(&node.address)));
    let members: BTreeMap<u64, BasicNode> = members.collect();
    let first = nodes.first().context("there is no node")?;
    first.runtime.block_on(first.raft.initialize(members.clone()))?;
    ask(&nodes, "push bread", None)?;
    ask(&nodes, "push milk", None)?;
    let seen = ask(&nodes, "push eggs", None)?;

    println!("node 1 crashes, the others go on and purge their logs");
    drop(nodes.remove(0));
    ask(&nodes, "pop", Some("bread"))?;
    ask(&nodes, "push tea", None)?;
    ask(&nodes, "pop", Some("milk"))?;
    for node in &nodes {
        let purged = node.raft.wait(WAIT_DEADLINE);
        let purged = purged.metrics(|m| m.purged.is_some_and(|id| id.index > seen), "the log to be purged");
        node.runtime.block_on(purged)?;
    }

    println!("all crash and start again from the same directories; node 1 gets a snapshot");
    drop(nodes);
    let nodes = members.iter().map(|(id, m)| start(&home, *id, &m.addr)).collect::<Result<Vec<_>>>()?;
    let last = ask(&nodes, "push rice", None)?;
    for (id, node) in (1..).zip(&nodes) {
        let applied = node.raft.wait(WAIT_DEADLINE).applied_index_at_least(Some(last), "all applied");
        node.runtime.block_on(applied)?;
        let items = node.runtime.block_on(node.reader.query(()))?;
        println!("    node {id} holds {items:?}");
        ensure!(items == ["eggs", "tea", "rice"]);
    }
    println!("nothing lost, nothing out of order");
    Ok(())
}
