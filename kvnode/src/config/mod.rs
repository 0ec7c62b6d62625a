//! What the operator asks for: flags, then `KVNODE_*` variables, then a file.
//!
//! Owns reading, merging and checking; ends in a [`Config`] or in every complaint at once, before a
//! socket opens or a file is touched.

mod address;
mod args;
mod check;
mod file;
mod memory;
mod peers;
mod settings;

pub use address::Address;
use address::AddressError;
pub use args::{CheckArgs, Cli, Command, PlaygroundArgs, ReportFormat, ServeArgs};
pub use check::{ConfigErrors, Listener};
pub use memory::MemoryLimits;
pub use peers::Peers;

use std::path::PathBuf;

use crate::logging::LogOptions;
use crate::raft::{Member, NodeId};
use crate::trace::OtlpEndpoint;

/// Everything `kvnode serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
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
    /// The data directory was moved here, and the operator vouches for it.
    pub accept_moved_data: bool,
    /// Log entries between two snapshots.
    pub snapshot_entries: u64,
    /// What the storage may keep in memory.
    pub memory: MemoryLimits,
    /// What is logged, and how.
    pub log: LogOptions,
    /// Where spans are sent; none: nowhere.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// Stop when standard input ends: the playground's way to never leave a node behind.
    pub exit_on_stdin_eof: bool,
}

impl Config {
    /// Merges the three sources and checks the result.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn load(args: &ServeArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let settings = settings::Settings::merge(args, env, &mut errors);
        check::config(&settings, errors)
    }

    /// Whether the peer list, if there is one, has this node with the addresses that it advertises. It
    /// must before the node belongs to a cluster; later the cluster knows better.
    ///
    /// # Errors
    /// What does not agree.
    pub fn check_own_entry(&self) -> Result<(), ConfigErrors> {
        let Some(peers) = &self.peers else { return Ok(()) };
        let (id, own) = (self.id, self.own_member());
        let complaint = match peers.get(id) {
            Some(listed) if *listed == own => return Ok(()),
            Some(listed) => format!(
                "--peers lists node {id} as {listed}, but this node advertises {own}; the two must agree"
            ),
            None => format!(
                "--peers does not list node {id}, which is this node; add {id}={own}, or leave --peers out if \
                 this node is to be added to a cluster that exists"
            ),
        };
        Err(ConfigErrors::of(complaint))
    }

    /// The addresses under which the others know this node.
    #[must_use]
    pub fn own_member(&self) -> Member {
        Member::at(self.raft.advertise.to_string(), self.client.advertise.to_string())
    }
}

/// The data directory alone, from the same three sources.
///
/// # Errors
/// It is not given, or a source cannot be read.
pub fn data_dir(args: &CheckArgs, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, ConfigErrors> {
    let mut errors = Vec::new();
    let args =
        ServeArgs { data_dir: args.data_dir.clone(), config: args.config.clone(), ..ServeArgs::default() };
    let settings = settings::Settings::merge(&args, env, &mut errors);
    check::data_dir(&settings, errors)
}
