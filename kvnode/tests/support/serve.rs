//! The command line of one `kvnode serve`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use super::Ports;

/// What a node is started with. Tests change fields to start it wrongly.
#[derive(Debug, Clone)]
pub struct Serve {
    pub id: u64,
    pub data_dir: PathBuf,
    pub ports: Ports,
    /// Empty: the node waits to be added to a cluster, or has been there before.
    pub peers: String,
    pub cluster_name: String,
    pub snapshot_entries: Option<u64>,
    /// Record every sync of this node, with times and files, here.
    pub trace: Option<PathBuf>,
    /// More flags.
    pub flags: Vec<String>,
    /// More of the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Limits of the process, as the shell's `ulimit` takes them.
    pub ulimits: Vec<String>,
}

impl Serve {
    /// Ready to be started.
    pub fn command(&self) -> Command {
        let mut command = self.program();
        command
            .arg("serve")
            .args(["--id", &self.id.to_string()])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--client-addr", &self.ports.client_addr()])
            .args(["--raft-addr", &self.ports.raft_addr()])
            .args(["--http-addr", &self.ports.http_addr()])
            .args(["--cluster-name", &self.cluster_name]);
        if !self.peers.is_empty() {
            command.args(["--peers", &self.peers]);
        }
        command.args(&self.flags);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(entries) = self.snapshot_entries {
            command.args(["--snapshot-entries", &entries.to_string()]);
        }
        command
    }

    /// `-D` makes the node, not strace, this process's child.
    fn program(&self) -> Command {
        let kvnode = env!("CARGO_BIN_EXE_kvnode");
        if !self.ulimits.is_empty() {
            let limits: Vec<_> = self.ulimits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("{}exec \"$@\"", limits.concat())).args(["sh", kvnode]);
            return clean(command);
        }
        let Some(trace) = &self.trace else { return clean(Command::new(kvnode)) };
        let mut command = Command::new("strace");
        command
            .args(["-D", "-f", "-ttt", "-T", "-y", "-e", "trace=fdatasync,fsync", "-o"])
            .arg(trace)
            .arg(kvnode);
        clean(command)
    }
}

/// The environment of the tests must not configure the nodes.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("KVNODE_") || text.starts_with("KVCLI_") {
            command.env_remove(name);
        }
    }
    command
}

/// The `--peers` list of these nodes.
pub fn peer_list<'a>(nodes: impl IntoIterator<Item = (u64, &'a Ports)>) -> String {
    let entry = |(id, ports): (u64, &Ports)| format!("{id}={}/{}", ports.raft_addr(), ports.client_addr());
    let entries: Vec<_> = nodes.into_iter().map(entry).collect();
    entries.join(",")
}
