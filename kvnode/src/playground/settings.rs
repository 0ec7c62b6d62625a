//! What a playground remembers in `playground.toml`, so that a second start in the same directory
//! finds its data again.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

const FILE: &str = "playground.toml";

/// The ports of one node on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ports {
    pub(super) client: u16,
    pub(super) raft: u16,
    pub(super) http: u16,
}

/// The nodes of a playground; node `n` has the `n`-th ports, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) nodes: Vec<Ports>,
    /// Whether everything is encrypted.
    #[serde(default)]
    pub(super) tls: bool,
}

impl Settings {
    /// Finds the settings in `dir`, or makes new ones for `nodes` nodes. A cluster that was there
    /// gets or loses its encryption as `tls` says.
    pub(super) fn load_or_create(dir: &Path, nodes: u8, tls: bool) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        if !path.exists() {
            let settings = Self { nodes: free_ports(nodes)?, tls };
            let text = toml::to_string(&settings).context("cannot write the ports as TOML")?;
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(settings);
        }
        let settings = Self::read(&path)?;
        if settings.nodes.len() != usize::from(nodes) {
            bail!(
                "{} holds a playground of {} nodes; start it with --nodes {}, or choose another --dir",
                dir.display(),
                settings.nodes.len(),
                settings.nodes.len()
            );
        }
        settings.check_free()?;
        Ok(Self { tls, ..settings })
    }

    fn read(path: &PathBuf) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text)
            .with_context(|| format!("{} is damaged; remove the directory to start afresh", path.display()))
    }

    /// The nodes keep their addresses, so another process on one of the ports is in the way.
    fn check_free(&self) -> anyhow::Result<()> {
        for port in self.nodes.iter().flat_map(|ports| [ports.client, ports.raft, ports.http]) {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                format!("port {port}, which this playground used before, is taken; is the playground already running?")
            })?;
        }
        Ok(())
    }

    /// The `--peers` list.
    pub(super) fn peers(&self) -> String {
        let entry = |(id, ports): (usize, &Ports)| {
            format!("{id}=127.0.0.1:{}/127.0.0.1:{}", ports.raft, ports.client)
        };
        let entries: Vec<_> = (1..).zip(&self.nodes).map(entry).collect();
        entries.join(",")
    }
}

/// Where ports are looked for: below those that the system gives to outgoing connections. One of
/// those would be free now, but while its node is down the others dial it, and a connection that is
/// given the very port it dials connects to itself: the node could not be started again.
const CANDIDATE_PORTS: Range<u16> = 11_000..32_000;
/// Ports tried before giving up.
const MAX_TRIES: usize = 1000;

/// Ports that are free now: all are bound at once, so that none is found twice, and released
/// together.
fn free_ports(nodes: u8) -> anyhow::Result<Vec<Ports>> {
    let mut held = Vec::new();
    let mut port = || -> anyhow::Result<u16> {
        let tries = (0..MAX_TRIES).map(|_| rand::random_range(CANDIDATE_PORTS));
        let bound =
            |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|listener| (port, listener));
        let (port, listener) = { tries }.find_map(bound).context("cannot find a free port")?;
        held.push(listener);
        Ok(port)
    };
    (0..nodes).map(|_| Ok(Ports { client: port()?, raft: port()?, http: port()? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_finds_the_same_ports() {
        let dir = tempfile::tempdir().unwrap();
        let first = Settings::load_or_create(dir.path(), 3, false).unwrap();
        assert_eq!(Settings::load_or_create(dir.path(), 3, false).unwrap(), first);
        let error = Settings::load_or_create(dir.path(), 5, false).unwrap_err().to_string();
        assert!(error.contains("--nodes 3"), "{error}");
    }

    #[test]
    fn a_taken_port_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::load_or_create(dir.path(), 1, false).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, settings.nodes[0].raft)).unwrap();
        let error = Settings::load_or_create(dir.path(), 1, false).unwrap_err().to_string();
        assert!(error.contains(&settings.nodes[0].raft.to_string()), "{error}");
    }

    #[test]
    fn the_peer_list_is_one_that_a_node_accepts() {
        let settings = Settings { nodes: free_ports(3).unwrap(), tls: false };
        let peers: raftnode::Peers = settings.peers().parse().unwrap();
        assert_eq!(peers.iter().count(), 3);
    }
}
