//! What a node without storage knows of itself.

use std::path::PathBuf;

use storage_leveldb::Fault;

use crate::config::{NodeConfig, Peers, Program};
use crate::identity::Identity;
use crate::raft::{Member, NodeId};

/// What the surfaces of a node without storage know.
#[derive(Debug)]
pub(crate) struct Faulty {
    /// What it runs.
    pub program: Program,
    /// This node.
    pub id: NodeId,
    /// The id of its cluster in 32 hexadecimal digits; empty if it belongs to none.
    pub cluster_id: String,
    /// The label of its cluster.
    pub cluster_name: String,
    /// How the others know this node.
    pub own: Member,
    /// Where HTTP is reached.
    pub http_addr: String,
    /// Everything it stores, or tried to.
    pub data_dir: PathBuf,
    /// The nodes that it knows without its storage.
    pub peers: Option<Peers>,
    /// Why it does not serve.
    pub fault: Fault,
}

impl Faulty {
    /// The node of these options and this directory, whose storage cannot be opened.
    pub(crate) fn new(
        program: Program,
        config: &NodeConfig,
        identity: &Identity,
        fault: Fault,
        http_addr: String,
    ) -> Self {
        Self {
            program,
            id: config.id,
            cluster_id: identity.member.map(|member| member.cluster_id.to_string()).unwrap_or_default(),
            cluster_name: config.cluster_name.clone(),
            own: config.own_member(),
            http_addr,
            data_dir: config.data_dir.clone(),
            peers: identity.peers.clone(),
            fault,
        }
    }
}
