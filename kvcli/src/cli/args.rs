//! The command line as clap sees it: the flags for every command, and the list of commands.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::Resettable;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use kvcli::{ClientTls, ClientToken, ClusterId};

use super::bench::BenchArgs;
use super::cluster::ClusterArgs;
use super::completions::CompletionsArgs;
use super::delete::DeleteArgs;
use super::get::GetArgs;
use super::health::HealthArgs;
use super::put::PutArgs;
use super::scan::ScanArgs;
use crate::exit::{self, Problem};
use crate::output::Format;
use crate::units::parse_duration;

const DEFAULT_ENDPOINT: &str = "127.0.0.1:7001";
/// Requests.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Changes of the cluster, which wait for a node to catch up or a disk to be read.
const DEFAULT_CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Has a token, if no file is given.
const TOKEN_VARIABLE: &str = "KVCLI_TOKEN";
/// What is read of a token's file.
const MAX_TOKEN_FILE_BYTES: u64 = 4096;

const EXAMPLES: &str = "\
Examples:
  kvcli cluster init
  kvcli put greeting hello
  kvcli get greeting
  kvcli --endpoints n1:7001,n2:7001,n3:7001 cluster status
  kvcli scan --prefix user/ --output json";

/// Store, read and administer a replicated key-value store.
#[derive(Debug, Parser)]
#[command(
    name = "kvcli",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = format!("{EXAMPLES}\n\n{}", exit::HELP),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Reads the arguments of this process and its environment, where an empty variable counts as
    /// unset.
    pub(crate) fn from_command_line() -> Result<Self, clap::Error> {
        let command = Self::command().mut_args(|argument| {
            let empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
            if empty { argument.env(Resettable::Reset) } else { argument }
        });
        Self::from_arg_matches(&command.try_get_matches()?)
    }
}

/// May stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Nodes to ask, host:port
    #[arg(
        long,
        global = true,
        env = "KVCLI_ENDPOINTS",
        hide_env_values = true,
        value_delimiter = ',',
        default_value = DEFAULT_ENDPOINT,
        value_name = "ADDR,..."
    )]
    pub(super) endpoints: Vec<String>,

    #[arg(
        long,
        short,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true,
        help = "text, or json: one object per line"
    )]
    pub(crate) output: Format,

    /// Talk to this cluster only: its id, as `kvcli cluster status` shows it
    #[arg(long = "cluster", global = true, env = "KVCLI_CLUSTER", hide_env_values = true, value_name = "ID")]
    pub(super) cluster_id: Option<ClusterId>,

    /// Encrypt connections; the nodes' certificates are of one of the CAs in this file (PEM)
    #[arg(long, global = true, env = "KVCLI_CACERT", hide_env_values = true, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,

    /// The certificate to show to nodes that demand one; needs --key and --cacert
    #[arg(long, global = true, env = "KVCLI_CERT", hide_env_values = true, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,

    /// The key of --cert
    #[arg(
        long = "key",
        id = "tls-key",
        global = true,
        env = "KVCLI_KEY",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(super) tls_key: Option<PathBuf>,

    /// Say who asks by the token in this file, as `kvnode token` makes it; the variable KVCLI_TOKEN
    /// has the token itself
    #[arg(long, global = true, env = "KVCLI_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,

    /// Send the token over connections without TLS as well, where others may read it
    #[arg(long, global = true)]
    pub(super) token_over_plaintext: bool,

    /// For a request with its retries: 500ms, 5s, 1m [default: 5s; membership changes 1m]
    #[arg(long, global = true, value_parser = parse_duration, value_name = "TIME")]
    pub(super) timeout: Option<Duration>,

    /// Say under which trace id the nodes log the request; errors always do
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
}

impl GlobalArgs {
    /// Who asks. A token is no argument: those of a process are there for all to read.
    pub(super) fn token(&self) -> Result<Option<ClientToken>, Problem> {
        let wrong = |origin: &dyn Display, e: &dyn Display| Problem::BadArguments(format!("{origin}: {e}"));
        let (origin, text) = match (&self.token_file, std::env::var(TOKEN_VARIABLE)) {
            (Some(file), _) => {
                let shown = format!("--token-file {}", file.display());
                let text =
                    read_token(file).map_err(|e| wrong(&shown, &format_args!("cannot be read: {e}")))?;
                (shown, text)
            }
            (None, Ok(text)) if !text.is_empty() => (TOKEN_VARIABLE.to_owned(), text),
            (None, _) if self.token_over_plaintext => {
                return Err(Problem::BadArguments(
                    "--token-over-plaintext needs a token: --token-file".to_owned(),
                ));
            }
            (None, _) => return Ok(None),
        };
        let token: ClientToken = text.parse().map_err(|e| wrong(&origin, &e))?;
        Ok(Some(if self.token_over_plaintext { token.over_plaintext() } else { token }))
    }

    /// How connections are encrypted.
    pub(super) fn tls(&self) -> Result<Option<ClientTls>, Problem> {
        let wrong = |text: &str| Err(Problem::BadArguments(text.to_owned()));
        match (self.cacert.clone(), self.cert.clone(), self.tls_key.clone()) {
            (None, None, None) => Ok(None),
            (None, ..) => wrong("--cert and --key need --cacert: without it connections are not encrypted"),
            (Some(ca), None, None) => Ok(Some(ClientTls { ca, identity: None })),
            (Some(ca), Some(cert), Some(key)) => Ok(Some(ClientTls { ca, identity: Some((cert, key)) })),
            (Some(_), ..) => wrong("--cert and --key belong together; give both or neither"),
        }
    }
}

fn read_token(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Put(PutArgs),
    Get(GetArgs),
    Delete(DeleteArgs),
    Scan(ScanArgs),
    Cluster(ClusterArgs),
    Health(HealthArgs),
    Bench(BenchArgs),
    Completions(CompletionsArgs),
}

impl Command {
    pub(super) fn default_timeout(&self) -> Duration {
        match self {
            Self::Cluster(args) if args.is_change() => DEFAULT_CHANGE_TIMEOUT,
            _ => DEFAULT_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
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
            for code in prose.split('`').skip(1).step_by(2).filter(|code| code.starts_with("kvcli ")) {
                let words = code.split_whitespace().map(|word| if word == "ID" { "4" } else { word });
                let parsed = super::Cli::try_parse_from(words);
                let help = |e: &clap::Error| e.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(parsed.as_ref().err().is_none_or(help), "{code}: {}", parsed.err().unwrap());
                seen += 1;
            }
        }
        assert!(seen > 0);
    }
}
