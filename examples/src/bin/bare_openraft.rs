//! Without the framework: a replicated queue, an openraft application of its own on
//! `storage-leveldb` and `network-grpc`, in less than a hundred lines. `cargo run --release -p
//! examples --bin bare_openraft` tells a story with three nodes in one process and ends with an
//! error if anything in it is not as it should be.
//!
//! From the top: the application, how a node is put together, a client, the story.

use std::{collections::BTreeMap, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use network_grpc::{ClusterId, GrpcNetwork, LocalIdentity, MemberIdentity, NetworkOptions, RaftService};
use openraft::errors::{ClientWriteError::ForwardToLeader, RaftError};
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use storage_leveldb::{Application, Options, StateMachine, StateReader, Storage, config::check_config};
use storage_leveldb::{StorageError, Transaction, View, check_command, durable_config, scan};
use tokio::{net::TcpListener, runtime::Runtime};

const CLUSTER: MemberIdentity = MemberIdentity { cluster_id: ClusterId::from_bits(7), incarnation: None };
const LISTED: scan::ScanLimit = scan::ScanLimit { pairs: 100, bytes: 64 * 1024 };
const MAX_TRIES: usize = 400;
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const DEADLINE: Option<Duration> = Some(Duration::from_secs(20));

// A command is a line of text: `push ITEM`, or anything else to pop. Its response is the item
// popped, if any.
openraft::declare_raft_types!(Types: D = String, R = Option<String>, NodeId = u64, Node = BasicNode);

/// Items are stored under the log index of their push: the order of keys is the order of the queue.
struct Queue;

impl Application<Types> for Queue {
    type Query = ();
    type Answer = Vec<String>;

    fn apply(&self, txn: &mut Transaction, at: u64, line: &String) -> Result<Option<String>, StorageError> {
        if let Some(item) = line.strip_prefix("push ") {
            txn.put(&at.to_be_bytes(), item.as_bytes());
            return Ok(None);
        }
        let first = txn.scan(scan::KeyRange::all()).next().transpose()?;
        first.iter().for_each(|(key, _)| txn.delete(key));
        Ok(first.map(|(_, item)| String::from_utf8_lossy(&item).into_owned()))
    }

    fn query(&self, view: &mut View, (): ()) -> Result<Vec<String>, StorageError> {
        let items = LISTED.first_of(view.scan(scan::KeyRange::all()))?;
        Ok(items.iter().map(|(_, item)| String::from_utf8_lossy(item).into_owned()).collect())
    }
}

/// A running node. It has a runtime of its own, so that dropping it ends everything at once, as a
/// crash does.
struct Node {
    member: BasicNode,
    raft: Raft<Types, StateMachine<Types, Queue>>,
    reader: StateReader<Types, Queue>,
    runtime: Runtime,
}

fn start(home: &Path, id: u64, address: &str) -> Result<Node> {
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind(address))?;
    let member = BasicNode::new(listener.local_addr()?);
    let store = runtime.block_on(Storage::open(&home.join(id.to_string()), Queue, Options::default()))?;

    // openraft's own defaults are not safe with a disk. The log is short, to need snapshots.
    let snapshot_policy = SnapshotPolicy::LogsSinceLast(3);
    let config = Config { snapshot_policy, max_in_snapshot_log_to_keep: 0, ..durable_config() };
    check_config(&config)?;
    let (identity, options) = (LocalIdentity::member_of(id, CLUSTER), NetworkOptions::default());
    let peers = GrpcNetwork::new(identity.clone(), options.clone());
    let raft = runtime.block_on(Raft::new(id, config.into(), peers, store.log, store.state))?;

    let inbox = move |announced| {
        let inbox = store.inbox.clone();
        async move { inbox.create_for(&announced).await }
    };
    let service = RaftService::new(raft.clone(), identity, inbox, options.clone());
    let server = network_grpc::server_builder(&options).add_service(service.into_server());
    runtime.spawn(server.serve_with_incoming(network_grpc::incoming(listener)));
    Ok(Node { member, raft, reader: store.reader, runtime })
}

/// Has the leader, whichever node that is, apply `line`; answers the log index. A node that refuses
/// because it does not lead has not taken the command. After any other error it may have, so that
/// is not retried.
fn ask(nodes: &[Node], line: &str, expected: Option<&str>) -> Result<u64> {
    check_command(&line.to_owned())?;
    let write = |node: &Node| node.runtime.block_on(node.raft.client_write(line.to_owned()));
    let pause = |_: &_| thread::sleep(RETRY_PAUSE);
    let mut tries = nodes.iter().cycle().take(MAX_TRIES).map(|node| write(node).inspect_err(pause));
    let leads = |asked: &Result<_, _>| !matches!(asked, Err(RaftError::APIError(ForwardToLeader(_))));
    let done = tries.find(leads).context("no node has become the leader")??;
    println!("    {line:<12} {:<8} log entry {}", done.data.as_deref().unwrap_or("-"), done.log_id);
    ensure!(done.data.as_deref() == expected, "`{line}` should have answered {expected:?}");
    Ok(done.log_id.index)
}

fn main() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut nodes = (1..=3).map(|id| start(home.path(), id, "127.0.0.1:0")).collect::<Result<Vec<_>>>()?;
    let members: BTreeMap<u64, _> = (1..).zip(nodes.iter().map(|node| node.member.clone())).collect();
    let first = nodes.first().context("there is no node")?;
    first.runtime.block_on(first.raft.initialize(members.clone()))?;
    ask(&nodes, "push bread", None)?;
    let seen = ask(&nodes, "push milk", None)?;

    println!("node 1 crashes; the others go on, and purge from their logs what it has not seen");
    drop(nodes.remove(0));
    ask(&nodes, "pop", Some("bread"))?;
    ask(&nodes, "push tea", None)?;
    ask(&nodes, "push rice", None)?;
    for node in &nodes {
        let wait = node.raft.wait(DEADLINE);
        node.runtime.block_on(wait.metrics(|m| m.purged.is_some_and(|id| id.index > seen), "a purge"))?;
    }

    println!("all crash and start again from the same directories; node 1 needs a snapshot now");
    drop(nodes);
    let nodes = members.iter().map(|(id, m)| start(home.path(), *id, &m.addr)).collect::<Result<Vec<_>>>()?;
    let last = ask(&nodes, "pop", Some("milk"))?;
    for (id, node) in (1..).zip(&nodes) {
        node.runtime.block_on(node.raft.wait(DEADLINE).applied_index_at_least(Some(last), "catching up"))?;
        let items = node.runtime.block_on(node.reader.query(()))?;
        println!("    node {id} holds {items:?}");
        ensure!(items == ["tea", "rice"], "node {id} should hold tea and rice");
    }
    println!("all is well: nothing lost, nothing out of order");
    Ok(())
}
