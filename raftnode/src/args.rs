//! A node's options on a command line, for a program that has none of its own: to be flattened into
//! its parser.

use std::io;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Address, AuthOptions, JoinOptions, NodeConfig, Peers, TlsOptions};
use crate::logging::{FlushAtEnd, LogFilter, LogFormat, LogOptions, Source};
use crate::raft::NodeId;

/// What a node has to be told. Every option can also be given as an environment variable.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// This node's id, a number from 1 up; unique for ever
    #[arg(long, env = "NODE_ID", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub id: NodeId,
    /// Where everything is stored
    #[arg(long, env = "NODE_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Listen here for clients
    #[arg(long, env = "NODE_CLIENT_ADDR", value_name = "HOST:PORT")]
    pub client_addr: Address,
    /// Listen here for the other nodes
    #[arg(long, env = "NODE_RAFT_ADDR", value_name = "HOST:PORT")]
    pub raft_addr: Address,
    /// Listen here for HTTP: metrics, health, status page, and the application if it is served
    /// there
    #[arg(long, env = "NODE_HTTP_ADDR", value_name = "HOST:PORT")]
    pub http_addr: Address,
    /// The first members of a new cluster, this node included: 1=RAFT/CLIENT,2=RAFT/CLIENT,…; only
    /// the first start needs it, and a node that will be added to a cluster does without
    #[arg(long, env = "NODE_PEERS", value_name = "LIST")]
    pub peers: Option<Peers>,
    /// The cluster that a new node joins.
    #[command(flatten)]
    pub join: JoinOptions,
    /// A label for logs and dashboards
    #[arg(long, env = "NODE_CLUSTER_NAME", value_name = "NAME", default_value = "raftnode")]
    pub cluster_name: String,
    /// Certificates, keys and CAs.
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Who may do what.
    #[command(flatten)]
    pub auth: AuthOptions,
    /// What is logged: LEVEL or TARGET=LEVEL, several with commas; else what RUST_LOG says
    #[arg(long, value_name = "FILTER")]
    pub log: Option<LogFilter>,
    /// How log lines look: text, or json in the Elastic Common Schema
    #[arg(long, env = "NODE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

impl NodeArgs {
    /// Sends this process's log lines and panics to standard error from now on, as those of the
    /// program `service` of this version.
    ///
    /// # Errors
    /// RUST_LOG is not a filter, or the system gives no thread to write the lines.
    pub fn start_log(&self, service: &'static str, version: &'static str) -> io::Result<FlushAtEnd> {
        let said = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
        let filter = match (&self.log, said) {
            (Some(filter), _) => Some(filter.clone()),
            (None, Some(text)) => Some(text.parse().map_err(io::Error::other)?),
            (None, None) => None,
        };
        let options = LogOptions { format: self.log_format, filter };
        options.install(Source::new(service, version, self.id, &self.cluster_name))
    }
}

impl From<NodeArgs> for NodeConfig {
    fn from(args: NodeArgs) -> Self {
        let NodeArgs {
            id,
            data_dir,
            client_addr,
            raft_addr,
            http_addr,
            peers,
            join,
            cluster_name,
            tls,
            auth,
            ..
        } = args;
        Self {
            peers,
            join,
            cluster_name,
            tls,
            auth,
            ..Self::new(id, data_dir, client_addr, raft_addr, http_addr)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        node: NodeArgs,
    }

    #[test]
    fn a_command_line_becomes_a_configuration() {
        let line =
            "p --id 2 --data-dir d --client-addr a:1 --raft-addr a:2 --http-addr a:3 --peers 2=a:2/a:1";
        let config = NodeConfig::from(Program::parse_from(line.split(' ')).node);
        assert_eq!((config.id, config.own_member().to_string()), (2, "a:2/a:1".to_owned()));
        config.check_own_entry().unwrap();
        for wrong in ["--id 2", &line.replace("--id 2", "--id 0"), &line.replace("a:1", "a")] {
            Program::try_parse_from(wrong.split(' ')).unwrap_err();
        }
    }
}
