//! What the operator asks for, and putting it into effect.

use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::filter::LogFilter;
use super::layer::Lines;
use super::panic;
use super::record::Source;
use super::writer::{self, FlushAtEnd};

/// What is logged unless the operator says otherwise. openraft narrates every step of its protocol
/// at info, repeats at warn several times a second that a peer is away (network-grpc says it once),
/// and calls it an error when a peer's message arrives at a node that has just stopped.
pub const DEFAULT_FILTER: &str = "info,openraft=error,openraft::raft::raft_inner=off";

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
    /// Targets and levels; a quiet default if there is none.
    pub filter: Option<LogFilter>,
}

impl LogOptions {
    /// Sends this process's log lines and panics to standard error from now on; a second call
    /// changes nothing.
    ///
    /// # Errors
    /// If the system gives no thread to write them.
    pub fn install(&self, source: Source) -> io::Result<FlushAtEnd> {
        let at_end = writer::start()?;
        let colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        let lines = Lines { format: self.format, source, colour, write: writer::push };
        match tracing_subscriber::registry().with(self.env_filter()).with(lines).try_init() {
            Ok(()) => panic::install(),
            Err(e) => tracing::debug!("logging is already set up: {e}"),
        }
        Ok(at_end)
    }

    fn env_filter(&self) -> EnvFilter {
        let wanted = self.filter.as_ref().and_then(LogFilter::to_env_filter);
        wanted.unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER))
    }
}
