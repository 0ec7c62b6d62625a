//! Processes of one example, as a cluster.

use std::path::PathBuf;

use kvcli::{Client, ClientOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Node, until};

/// Three nodes, and those that joined them.
pub struct Cluster {
    pub nodes: Vec<Node>,
    binary: &'static str,
    has_web: bool,
    home: TempDir,
    runtime: Runtime,
}

impl Cluster {
    /// Starts three processes of an example that has no server of its own, and makes them a
    /// cluster.
    pub fn start(binary: &'static str) -> Self {
        Self::of(binary, false)
    }

    /// The same of an example with a server of its own.
    pub fn start_with_web(binary: &'static str) -> Self {
        Self::of(binary, true)
    }

    fn of(binary: &'static str, has_web: bool) -> Self {
        let nodes: Vec<_> = (1..=3).map(|id| Node::new(binary, id, has_web)).collect();
        let (home, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let mut cluster = Self { nodes, binary, has_web, home, runtime };
        let peers: Vec<_> = cluster.nodes.iter().map(Node::listed).collect();
        cluster.start_all(Some(&peers.join(",")));
        let kvcli = cluster.kvcli();
        let init = || cluster.runtime.block_on(kvcli.init());
        let members = until("the nodes become a cluster", init).members;
        assert_eq!(members.len(), 3, "{members:?}");
        cluster
    }

    fn start_all(&mut self, peers: Option<&str>) {
        let home = self.home.path();
        self.nodes.iter_mut().for_each(|node| node.start(home, peers));
    }

    /// Without a peer list.
    pub fn restart(&mut self, index: usize) {
        self.nodes[index].start(self.home.path(), None);
    }

    /// Kills all before any is started again.
    pub fn kill_and_restart_all(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
        self.start_all(None);
    }

    /// Where a node stores.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        self.home.path().join(self.nodes[index].id.to_string())
    }

    /// Starts one more process, which waits to be added.
    pub fn start_one_more(&mut self) -> &Node {
        let id = self.nodes.len() as u64 + 1;
        let mut node = Node::new(self.binary, id, self.has_web);
        node.start(self.home.path(), None);
        self.nodes.push(node);
        self.nodes.last().unwrap()
    }

    /// Starts one more process and makes it a voter.
    pub fn join(&mut self) -> &Node {
        let kvcli = self.kvcli();
        let node = self.start_one_more();
        let (id, raft, client) = (node.id, node.raft_addr(), node.client_addr());
        // Refused as long as the new node does not listen.
        until("the new node is added", || self.runtime.block_on(kvcli.add_learner(id, &raft, &client)));
        until("the new node votes", || self.runtime.block_on(kvcli.change_membership(&[id], &[], false)));
        self.nodes.last().unwrap()
    }

    /// A client of all nodes.
    pub fn kvcli(&self) -> Client {
        Client::connect(self.nodes.iter().map(Node::client_addr), ClientOptions::default()).unwrap()
    }
}
