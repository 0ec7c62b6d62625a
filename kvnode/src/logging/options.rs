//! What the operator asks for, and putting it into effect.

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::layer::{self, Lines, Source};
use super::panic;

/// What is logged unless the operator says otherwise. openraft narrates every step of its protocol at
/// info, repeats at warn several times a second that a peer is away (network-grpc says it once), and calls
/// it an error when a peer's message arrives at a node that has just stopped.
pub(crate) const DEFAULT_FILTER: &str = "info,openraft=error,openraft::raft::raft_inner=off";

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("'{text}' is not a log format: text or json")),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// How lines look.
    pub format: LogFormat,
    /// Targets and levels; `RUST_LOG`, then a quiet default, if there is none.
    pub filter: Option<String>,
}

impl LogOptions {
    /// Whether `filter` can be understood.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_filter(filter: &str) -> Result<(), String> {
        match EnvFilter::try_new(filter) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("'{filter}' is not a log filter, for example info,openraft=debug: {e}")),
        }
    }

    /// Sends this process's log lines and panics to standard error from now on; a second call changes nothing.
    pub fn install(&self, source: Source) {
        let colour =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let lines = Lines { format: self.format, source, colour, write: layer::to_stderr };
        match tracing_subscriber::registry().with(self.env_filter()).with(lines).try_init() {
            Ok(()) => panic::install(),
            Err(e) => tracing::debug!("logging is already set up: {e}"),
        }
    }

    fn env_filter(&self) -> EnvFilter {
        let wanted = self.filter.clone().or_else(|| std::env::var(EnvFilter::DEFAULT_ENV).ok());
        wanted
            .and_then(|filter| EnvFilter::try_new(filter).ok())
            .unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER))
    }
}
