//! The command line, as clap sees it: names and help. Values stay text; [`check`](super::check)
//! parses them together with those from the environment and the file, to report every problem at
//! once.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cert::CertArgs;
use crate::playground::PlaygroundArgs;
use crate::recover::RecoverArgs;
use crate::restore::RestoreArgs;

const AFTER_HELP: &str = "\
Every option of `serve` can also be given as an environment variable (KVNODE_DATA_DIR for
--data-dir) or in the file named by --config (data-dir = \"…\"). A flag wins over a variable, a
variable over the file.

Exit codes: 0 stopped as asked; 3 bad arguments, or a data directory that is not this node's; 1 anything
else.";

const AFTER_CHECK_HELP: &str = "\
Reads every byte below --data-dir and verifies every checksum; then reads the log and the state as a
start would, and whether they fit together. Names all that is wrong, not only the first, and says
what to do about it (docs/operations/recovery.md, \"Check a data directory\"). Changes nothing: not a
byte, not a time of change. The node must be stopped. Everything is read about twice, a piece at a
time: memory does not grow with what is stored.

The report goes to standard output, progress to standard error if that is a terminal. Like every
option of `serve`, --data-dir may also come from KVNODE_DATA_DIR or from the file named by --config.

Exit codes: 0 all is well; 1 something is wrong; 2 not checked: the node is running, or there is no
such directory, or it was not made by kvnode; 3 bad arguments.";

/// Every setting, by its flag's name.
pub(crate) const NAMES: [&str; 30] = [
    "id",
    "data-dir",
    "client-addr",
    "raft-addr",
    "http-addr",
    "advertise-client-addr",
    "advertise-raft-addr",
    "advertise-http-addr",
    "peers",
    "join",
    "voter",
    "cluster-name",
    "snapshot-entries",
    "log-tail-mib",
    "memtable-mib",
    "table-cache-mib",
    "log-format",
    "log",
    "otlp-endpoint",
    "client-cert",
    "client-key",
    "client-ca",
    "peer-cert",
    "peer-key",
    "peer-ca",
    "http-cert",
    "http-key",
    "allow-plaintext",
    "auth-file",
    "auth-over-plaintext",
];

/// A replicated key-value store.
#[derive(Debug, Parser)]
#[command(name = "kvnode", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` if nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What `kvnode` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one node (the default)
    Serve(Box<ServeArgs>),
    /// Run a whole cluster on this machine, to try things out
    Playground(PlaygroundArgs),
    /// Make a CA, and certificates of nodes and clients
    Cert(CertArgs),
    /// Make a token for a client, and its hash for --auth-file
    Token,
    /// Verify the data directory of a stopped node: every file, and what is in it
    #[command(after_help = AFTER_CHECK_HELP)]
    Check(CheckArgs),
    /// Make a new cluster of one node of a backup that `kvcli backup save` has written
    Restore(RestoreArgs),
    /// Make a new cluster of one node of what a stopped node has, after a majority is lost for good
    Recover(RecoverArgs),
}

/// `kvnode serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// This node's id, a number from 1 up; unique for ever
    #[arg(long, value_name = "N")]
    pub id: Option<String>,
    /// Where everything is stored
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Listen here for clients
    #[arg(long, value_name = "HOST:PORT")]
    pub client_addr: Option<String>,
    /// Listen here for the other nodes
    #[arg(long, value_name = "HOST:PORT")]
    pub raft_addr: Option<String>,
    /// Listen here for HTTP: metrics, health, status page
    #[arg(long, value_name = "HOST:PORT")]
    pub http_addr: Option<String>,
    /// Where clients reach --client-addr, if not under that address
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_client_addr: Option<String>,
    /// Where the other nodes reach --raft-addr, if not under that address
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_raft_addr: Option<String>,
    /// Where --http-addr is reached, if not under that address
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_http_addr: Option<String>,
    /// The first members of a new cluster, this node included: 1=RAFT/CLIENT,2=RAFT/CLIENT,…; only
    /// the first start needs it, and a node that will be added to a cluster does without
    #[arg(long, value_name = "LIST")]
    pub peers: Option<String>,
    /// A new node joins the cluster of the member whose port for clients this is; several with
    /// commas. It has no effect once the node is a member. Where there is an --auth-file, this
    /// node's certificate needs the right `admin` there
    #[arg(long, value_name = "HOST:PORT,…")]
    pub join: Option<String>,
    /// With --join: become a voter once caught up, not only a learner [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub voter: Option<String>,
    /// A label for logs and dashboards; the cluster's identity is a random id that `init` makes
    /// [default: kv]
    #[arg(long, alias = "cluster-id", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Start once on a data directory that was moved: its newest state, whose original will never
    /// run again
    #[arg(long)]
    pub accept_moved_data: bool,
    /// Build a snapshot after this many log entries [default: 50000]
    #[arg(long, value_name = "N")]
    pub snapshot_entries: Option<String>,
    /// Memory for recent log entries, in MiB; peers and restarts that need older ones read the disk
    /// [default: 32]
    #[arg(long, value_name = "MIB")]
    pub log_tail_mib: Option<String>,
    /// Changes are gathered in memory up to this, in MiB, then written to disk; three times as much
    /// at most [default: 32]
    #[arg(long, value_name = "MIB")]
    pub memtable_mib: Option<String>,
    /// Memory for indexes and filters of the state, in MiB: 4 for each million pairs, or reads
    /// become slow [default: 128]
    #[arg(long, value_name = "MIB")]
    pub table_cache_mib: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What is logged, as in info,openraft=debug [default: $RUST_LOG, or
    /// info,openraft=error,openraft::raft::raft_inner=off]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Send a span per request to this OpenTelemetry collector (OTLP over gRPC), as in http://localhost:4317
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Certificate chain for clients (PEM): they then need TLS; needs --client-key and --peer-cert
    #[arg(long, value_name = "FILE")]
    pub client_cert: Option<String>,
    /// Key of --client-cert
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<String>,
    /// Demand of clients a certificate of one of these CAs
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<String>,
    /// This node's certificate chain for the other nodes, as `kvnode cert node` makes it; needs
    /// --peer-key and --peer-ca
    #[arg(long, value_name = "FILE")]
    pub peer_cert: Option<String>,
    /// Key of --peer-cert
    #[arg(long, value_name = "FILE")]
    pub peer_key: Option<String>,
    /// CAs of the nodes' certificates
    #[arg(long, value_name = "FILE")]
    pub peer_ca: Option<String>,
    /// Certificate chain for HTTP: it is then HTTPS; needs --http-key
    #[arg(long, value_name = "FILE")]
    pub http_cert: Option<String>,
    /// Key of --http-cert
    #[arg(long, value_name = "FILE")]
    pub http_key: Option<String>,
    /// While nodes and clients change over to TLS: accept connections without it as well, and reach
    /// other nodes without it where they have none [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_plaintext: Option<String>,
    /// Serve the principals in this file (TOML) and no others, each within its rights
    #[arg(long, value_name = "FILE")]
    pub auth_file: Option<String>,
    /// Take tokens, and requests that nodes pass on, over connections without TLS as well: where no
    /// other program can read or reach them [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub auth_over_plaintext: Option<String>,
    /// Read options from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    pub exit_on_stdin_eof: bool,
}

impl ServeArgs {
    /// What each setting was given, in the order of [`NAMES`].
    pub(crate) fn texts(&self) -> [Option<String>; NAMES.len()] {
        [
            &self.id,
            &self.data_dir,
            &self.client_addr,
            &self.raft_addr,
            &self.http_addr,
            &self.advertise_client_addr,
            &self.advertise_raft_addr,
            &self.advertise_http_addr,
            &self.peers,
            &self.join,
            &self.voter,
            &self.cluster_name,
            &self.snapshot_entries,
            &self.log_tail_mib,
            &self.memtable_mib,
            &self.table_cache_mib,
            &self.log_format,
            &self.log,
            &self.otlp_endpoint,
            &self.client_cert,
            &self.client_key,
            &self.client_ca,
            &self.peer_cert,
            &self.peer_key,
            &self.peer_ca,
            &self.http_cert,
            &self.http_key,
            &self.allow_plaintext,
            &self.auth_file,
            &self.auth_over_plaintext,
        ]
        .map(Clone::clone)
    }
}

/// `kvnode check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The directory to verify: what `serve` has for --data-dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Read options from this TOML file; only data-dir counts
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the report looks
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub output: ReportFormat,
}

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use raftnode::logging::DEFAULT_FILTER;

    /// Found: a target had been added to the filter, and neither the help nor the page about logs
    /// knew.
    #[test]
    fn the_default_of_log_is_what_help_and_page_say() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let help =
            serve.get_arguments().find(|arg| arg.get_id() == "log").unwrap().get_help().unwrap().to_string();
        assert!(help.contains(&format!("$RUST_LOG, or {DEFAULT_FILTER}]")), "{help}");
        let page = include_str!("../../../docs/operations/logs.md").replace('\n', " ");
        assert!(page.contains(&format!("the default, `{DEFAULT_FILTER}`, says nothing")));
    }

    /// Inline code of the pages on operations and of the README that begins with this program's
    /// name is a command line that it understands.
    #[test]
    fn what_documents_call_a_command_is_one() {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations");
        let pages = std::fs::read_dir(pages).unwrap().map(|page| page.unwrap().path());
        let mut seen = 0;
        for page in pages.chain([concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md").into()]) {
            let document = std::fs::read_to_string(page).unwrap();
            // Blocks are run by tests, or say that they are not.
            let prose: String = document.split("\n```").step_by(2).collect::<Vec<_>>().join("\n");
            for code in prose.split('`').skip(1).step_by(2).filter(|code| code.starts_with("kvnode ")) {
                let words = code.split_whitespace().map(|word| if word == "ID" { "4" } else { word });
                let parsed = Cli::try_parse_from(words);
                let help = |e: &clap::Error| e.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(parsed.as_ref().err().is_none_or(help), "{code}: {}", parsed.err().unwrap());
                seen += 1;
            }
        }
        assert!(seen > 0);
    }
}
