//! What a node has to be told: who it is, where it listens, and where it stores.

mod address;
mod auth;
mod join;
mod memory;
mod peers;
mod tls;

use std::path::PathBuf;

use serde::Serialize;

pub use address::{Address, AddressError};
pub use auth::{AuthOptions, AuthOptionsError};
pub use join::{JoinOptions, JoinOptionsError};
pub use memory::MemoryLimits;
pub use peers::{Peers, PeersError};
pub(crate) use tls::{PortFiles, stands_in_a_uri};
pub use tls::{TlsOptions, TlsOptionsError};

use crate::raft::{Member, NodeId, SNAPSHOT_ENTRIES};

/// What a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// What the names of the application's series begin with.
    pub(crate) name: &'static str,
    /// As it is shown.
    pub(crate) version: &'static str,
}

/// Everything a node needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// This node.
    pub id: NodeId,
    /// A label for logs and dashboards; 1 to 64 bytes.
    pub cluster_name: String,
    /// Everything it stores.
    pub data_dir: PathBuf,
    /// Where clients come in.
    pub client: Listener,
    /// Where peers come in.
    pub raft: Listener,
    /// Metrics, health and status.
    pub http: Listener,
    /// The members of the cluster when it is first formed; none: those of the first start, or this
    /// node waits to be added to a cluster.
    pub peers: Option<Peers>,
    /// The cluster that a new node joins.
    pub join: JoinOptions,
    /// The data directory was moved here, and the operator vouches for it.
    pub accept_moved_data: bool,
    /// Log entries between two snapshots.
    pub snapshot_entries: u64,
    /// What the storage may keep in memory.
    pub memory: MemoryLimits,
    /// Which connections are encrypted, and with which certificates.
    pub tls: TlsOptions,
    /// Who may do what.
    pub auth: AuthOptions,
}

/// Where a listener is bound and where others find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listener {
    /// Bound here.
    pub bind: Address,
    /// Dialled here by others.
    pub advertise: Address,
}

impl Listener {
    /// Bound to `address` and found there.
    #[must_use]
    pub fn at(address: Address) -> Self {
        Self { advertise: address.clone(), bind: address }
    }
}

impl NodeConfig {
    /// Node `id` with its data in `data_dir`, which listens at these addresses. No peers: it waits
    /// to be added to a cluster.
    #[must_use]
    pub fn new(id: NodeId, data_dir: PathBuf, client: Address, raft: Address, http: Address) -> Self {
        Self {
            id,
            cluster_name: "raftnode".to_owned(),
            data_dir,
            client: Listener::at(client),
            raft: Listener::at(raft),
            http: Listener::at(http),
            peers: None,
            join: JoinOptions::default(),
            accept_moved_data: false,
            snapshot_entries: SNAPSHOT_ENTRIES,
            memory: MemoryLimits::default(),
            tls: TlsOptions::default(),
            auth: AuthOptions::default(),
        }
    }

    /// Whether the peer list, if there is one, has this node with the addresses that it advertises.
    /// It must before the node belongs to a cluster; later the cluster knows better.
    ///
    /// # Errors
    /// What does not agree.
    pub fn check_own_entry(&self) -> Result<(), OwnEntryError> {
        let Some(peers) = &self.peers else { return Ok(()) };
        let (id, own) = (self.id, self.own_member());
        match peers.get(id) {
            Some(listed) if *listed == own => Ok(()),
            Some(listed) => {
                Err(OwnEntryError::Differs { id, listed: Box::new(listed.clone()), own: Box::new(own) })
            }
            None => Err(OwnEntryError::Missing { id, own: Box::new(own) }),
        }
    }

    /// The addresses under which the others know this node.
    #[must_use]
    pub fn own_member(&self) -> Member {
        Member::at(self.raft.advertise.to_string(), self.client.advertise.to_string())
    }
}

/// The peer list does not have this node as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnEntryError {
    /// With other addresses.
    #[error("--peers lists node {id} as {listed}, but this node advertises {own}; the two must agree")]
    Differs {
        /// This node.
        id: NodeId,
        /// As it is listed.
        listed: Box<Member>,
        /// As it is.
        own: Box<Member>,
    },
    /// Not at all.
    #[error(
        "--peers does not list node {id}, which is this node; add {id}={own}, or leave --peers out if this node is to \
         be added to a cluster that exists"
    )]
    Missing {
        /// This node.
        id: NodeId,
        /// As it is.
        own: Box<Member>,
    },
}
