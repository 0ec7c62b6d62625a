//! Several nodes in a temporary directory.

use std::time::Duration;

use kvcli::{Client, ClientOptions, ClientTls};
use proto::node::v1 as pb;
use tempfile::TempDir;

use super::serve::peer_list;
use super::{Node, Ports, Serve, SmallDisk, State, free_ports, wait};

/// How long an election may take, restarts and a loaded machine included.
const LEADER_TIMEOUT: Duration = Duration::from_secs(40);
/// How long the nodes may take to apply what is in the log.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Starts with other ports after a port was lost to another process.
const PORT_ATTEMPTS: usize = 5;

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    pub nodes: usize,
    pub snapshot_entries: Option<u64>,
    /// Record every sync with strace.
    pub traced: bool,
    /// Each node has a disk of its own with this much room.
    pub disk_mib: Option<u64>,
    /// More flags for every node.
    pub flags: Vec<String>,
    /// Limits of every node's process, as the shell's `ulimit` takes them.
    pub ulimits: Vec<String>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            snapshot_entries: None,
            traced: false,
            disk_mib: None,
            flags: Vec::new(),
            ulimits: Vec::new(),
        }
    }
}

/// Nodes 1, 2, … Invariant: once this is dropped, no process of it runs and no disk of it is
/// mounted. After a failed test the logs are printed and the directory is kept.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// How clients reach it; none: without TLS.
    pub tls: Option<ClientTls>,
    disks: Vec<(u64, SmallDisk)>,
    options: ClusterOptions,
    dir: Option<TempDir>,
}

impl Cluster {
    /// Ports and directories only; nothing runs.
    pub fn prepare(options: ClusterOptions) -> Self {
        let dir = tempfile::Builder::new().prefix("kvnode-test-").tempdir().expect("a temporary directory");
        let ports = free_ports(options.nodes);
        let peers = peer_list((1..).zip(&ports));
        let mut cluster = Self { nodes: Vec::new(), tls: None, disks: Vec::new(), options, dir: Some(dir) };
        for (id, ports) in (1..).zip(ports) {
            cluster.push(id, ports, peers.clone());
        }
        cluster
    }

    /// A node that is not started yet.
    pub fn push(&mut self, id: u64, ports: Ports, peers: String) {
        let mut home = self.path().join(format!("node-{id}"));
        let log_dir = home.clone();
        if let Some(mib) = self.options.disk_mib {
            home.push("disk");
            self.disks.push((id, SmallDisk::mount(&home, mib).expect("a test that mounts asks first")));
        }
        let serve = Serve {
            id,
            data_dir: home.join("data"),
            ports,
            peers,
            cluster_name: "kv".to_owned(),
            snapshot_entries: self.options.snapshot_entries,
            trace: self.options.traced.then(|| home.join("strace.log")),
            flags: self.options.flags.clone(),
            env: Vec::new(),
            ulimits: self.options.ulimits.clone(),
        };
        self.nodes.push(Node::new(serve, &log_dir));
    }

    /// Every node runs and none is initialised.
    pub async fn start_uninitialised(options: ClusterOptions) -> Self {
        for _ in 0..PORT_ATTEMPTS {
            let mut cluster = Self::prepare(options.clone());
            match cluster.try_start_all().await {
                Ok(()) => return cluster,
                Err(ended) if ended.contains("cannot listen") => {
                    eprintln!("another process took a port: {ended}")
                }
                Err(ended) => panic!("{ended}"),
            }
        }
        panic!("ports were lost {PORT_ATTEMPTS} times in a row");
    }

    /// Every node runs, and there is a leader.
    pub async fn start(options: ClusterOptions) -> Self {
        let cluster = Self::start_uninitialised(options).await;
        cluster.client().init().await.expect("the cluster can be initialised");
        cluster.leader().await;
        cluster
    }

    async fn try_start_all(&mut self) -> Result<(), String> {
        self.start_all();
        for node in &mut self.nodes {
            node.try_up().await?;
        }
        Ok(())
    }

    /// Starts the nodes that do not run, without waiting for them.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().filter(|node| !node.is_started()).for_each(Node::start);
    }

    /// Waits until every started node answers.
    pub async fn all_up(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.is_started()) {
            node.up().await;
        }
    }

    /// Starts nodes that know the whole cluster and belong to none yet; answers their ids.
    pub async fn add_nodes(&mut self, count: usize) -> Vec<u64> {
        let first = self.nodes.len() as u64 + 1;
        let new: Vec<(u64, Ports)> = (first..).zip(free_ports(count)).collect();
        let known = self.nodes.iter().map(|node| (node.id(), node.ports())).chain(new.iter().copied());
        let all: Vec<(u64, Ports)> = known.collect();
        let peers = peer_list(all.iter().map(|(id, ports)| (*id, ports)));
        for (id, ports) in &new {
            self.push(*id, *ports, peers.clone());
        }
        self.start_all();
        self.all_up().await;
        new.into_iter().map(|(id, _)| id).collect()
    }

    pub fn path(&self) -> &std::path::Path {
        self.dir.as_ref().expect("kept until dropped").path()
    }

    pub fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id() == id).expect("a node of this cluster")
    }

    pub fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("a node of this cluster")
    }

    /// The disk of a node that has one of its own.
    pub fn disk(&self, id: u64) -> &SmallDisk {
        self.disks
            .iter()
            .find(|(of, _)| *of == id)
            .map(|(_, disk)| disk)
            .expect("a node with a disk of its own")
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(Node::client_addr).collect()
    }

    /// A client that knows every node.
    pub fn client(&self) -> Client {
        self.client_with(Duration::from_secs(15))
    }

    /// The same with another time per operation.
    pub fn client_with(&self, timeout: Duration) -> Client {
        let tls = self.tls.clone();
        let options = ClientOptions { timeout, connections_per_endpoint: 2, tls, ..ClientOptions::default() };
        Client::connect(self.endpoints(), options).expect("good endpoints")
    }

    /// `kill -9` of every node at the same instant.
    pub fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::send_kill);
        self.nodes.iter_mut().for_each(Node::kill);
    }

    /// What every running node says about itself.
    pub async fn statuses(&self) -> Result<Vec<pb::StatusResponse>, String> {
        let running = self.nodes.iter().filter(|node| node.is_started());
        futures_util::future::try_join_all(running.map(Node::status)).await
    }

    /// Waits until a running node leads and every running node that belongs to the cluster says so;
    /// answers its id.
    pub async fn leader(&self) -> u64 {
        wait::until("a leader that all nodes name", LEADER_TIMEOUT, async || {
            agreed_leader(&self.statuses().await?)
        })
        .await
    }

    /// The running nodes, and members, that do not lead.
    pub async fn followers(&self) -> Vec<u64> {
        let leader = self.leader().await;
        self.nodes.iter().filter(|node| node.is_started() && node.id() != leader).map(Node::id).collect()
    }

    /// Waits until every running node has applied the whole log; answers its last index.
    pub async fn settled(&self) -> u64 {
        wait::until("every node has applied the whole log", SETTLE_TIMEOUT, async || {
            let statuses = self.statuses().await?;
            let indexes: Vec<_> = statuses
                .iter()
                .map(|s| (s.node_id, s.applied_index, s.committed_index, s.last_log_index))
                .collect();
            let last = indexes.iter().map(|(_, _, _, last)| *last).max().unwrap_or_default();
            let same = indexes.iter().all(|(_, applied, _, own)| *applied == last && *own == last);
            wait::is(same, || format!("(node, applied, committed, last): {indexes:?}")).map(|()| last)
        })
        .await
    }

    /// Waits until nothing moves and fails the test unless every running node stores exactly the
    /// same, revisions included.
    pub async fn same_state(&self) -> State {
        let index = self.settled().await;
        let mut states = Vec::new();
        for node in self.nodes.iter().filter(|node| node.is_started()) {
            states.push(State::of(node).await);
        }
        let first = states.remove(0);
        for other in &states {
            first.assert_same(other);
        }
        println!("log index {index}: {} nodes store the same {first}", states.len() + 1);
        first
    }
}

fn agreed_leader(statuses: &[pb::StatusResponse]) -> Result<u64, String> {
    let names = |s: &pb::StatusResponse| s.header.as_ref().map_or(0, |header| header.leader_id);
    let views: Vec<_> = statuses.iter().map(|s| (s.node_id, s.role(), s.term, names(s))).collect();
    let leader = statuses.iter().find(|s| s.role() == pb::Role::Leader && names(s) == s.node_id);
    let agreed = leader.filter(|leader| {
        statuses.iter().filter(|s| s.initialized).all(|s| names(s) == leader.node_id && s.term == leader.term)
    });
    agreed.map(|leader| leader.node_id).ok_or_else(|| format!("(node, role, term, leader): {views:?}"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            for node in &self.nodes {
                eprintln!("--- node {}, end of its log\n  {}", node.id(), node.log_tail());
            }
        }
        self.kill_all();
        self.disks.clear();
        if let Some(dir) = self.dir.take().filter(|_| failed) {
            eprintln!("--- data and logs are kept in {}", dir.keep().display());
        }
    }
}
