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
///
/// Invariants: `peers` contains `id` with exactly the two advertised addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub id: NodeId,
    /// The cluster it belongs to; 1 to 64 bytes.
    pub cluster_id: String,
    /// Everything it stores.
    pub data_dir: PathBuf,
    /// Where clients come in.
    pub client: Listener,
    /// Where peers come in.
    pub raft: Listener,
    /// Metrics, health and status.
    pub http: Listener,
    /// The members of the cluster when it is first formed.
    pub peers: Peers,
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

    /// The addresses under which the others know this node.
    #[must_use]
    pub fn own_member(&self) -> Member {
        Member { raft_addr: self.raft.advertise.to_string(), client_addr: self.client.advertise.to_string() }
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
