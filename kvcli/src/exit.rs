//! The exit codes that scripts rely on, and where each error gets its own.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use kvcli::{ClientError, TraceId};
use proto::backup::BackupError;
use serde_json::json;

use crate::output::Format;

/// The same table for every `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done; also if a change was made and only its answer could not be printed
  1  key not found, or a condition not met; of `cluster status` and `health`: not well; a backup
     that is damaged
  2  cluster unreachable, or it has no leader; nothing was applied
  3  bad arguments, or a local file that cannot be read or written
  4  refused by the server; nothing was applied
  5  outcome unknown: the write may or may not have been applied";

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(u8);

impl Code {
    pub(crate) const DONE: Self = Self(0);
    /// A cluster that is not well.
    pub(crate) const NOT_WELL: Self = Self(1);
    /// A cluster that has no leader.
    pub(crate) const NO_LEADER: Self = UNREACHABLE;
}

const NOT_FOUND: Code = Code(1);
const UNREACHABLE: Code = Code(2);
const BAD_ARGUMENTS: Code = Code(3);
const REFUSED: Code = Code(4);
const OUTCOME_UNKNOWN: Code = Code(5);

/// What can go wrong on this side of the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// Nothing is stored under the key.
    #[error("no such key: {0}")]
    KeyNotFound(String),
    /// Another voter was quicker than the one that leadership was handed to.
    #[error("node {leads} leads now, not node {wanted}: it was quicker; hand leadership over once more")]
    AnotherLeads {
        /// The one that was asked for.
        wanted: u64,
        /// The one that leads.
        leads: u64,
    },
    /// A verdict about two clusters would be about neither.
    #[error("{0}")]
    SeveralClusters(ClientError),
    /// A file is no backup, or cannot be read.
    #[error("{}: {error}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: BackupError,
    },
    /// A file cannot be written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `write`, `sync`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The membership is not what the command is for.
    #[error("{0}")]
    Refused(String),
    /// What is waited for does not come.
    #[error("{0}")]
    NothingMoves(String),
    /// Arguments that parse but make no sense together.
    #[error("{0}")]
    BadArguments(String),
}

/// Ends the program after a command. A failure that a node had a part in names its trace.
pub(crate) fn finish(result: anyhow::Result<Code>, format: Format, trace: Option<TraceId>) -> ExitCode {
    let error = match result {
        Ok(code) => return ExitCode::from(code.0),
        Err(error) => error,
    };
    let Some(code) = code(&error) else {
        return ExitCode::SUCCESS;
    };
    let text = message(&error);
    let trace =
        trace.filter(|_| matches!(code, UNREACHABLE | REFUSED | OUTCOME_UNKNOWN)).map(|id| id.to_string());
    let line = match (format, trace) {
        (Format::Text, None) => format!("kvcli: {text}"),
        (Format::Text, Some(trace)) => format!("kvcli: {text} (trace id {trace})"),
        (Format::Json, None) => json!({ "error": text, "exit_code": code.0 }).to_string(),
        (Format::Json, Some(trace)) => {
            json!({ "error": text, "exit_code": code.0, "trace_id": trace }).to_string()
        }
    };
    // There is nowhere left to report that stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(code.0)
}

/// Ends the program after a command line that was not understood, or that asked for help.
pub(crate) fn usage(error: &clap::Error, format: Format) -> ExitCode {
    if !error.use_stderr() {
        // Help into a closed pipe is no error.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    match format {
        Format::Text => {
            let _ = error.print();
        }
        Format::Json => {
            let line = json!({ "error": usage_text(error), "exit_code": BAD_ARGUMENTS.0 });
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
    ExitCode::from(BAD_ARGUMENTS.0)
}

fn usage_text(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; see `kvcli --help`".to_owned();
    }
    let text = error.render().to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

/// None: not an error at all, the reader of our output went away.
fn code(error: &anyhow::Error) -> Option<Code> {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return Some(client_code(error));
    }
    match error.downcast_ref::<Problem>() {
        Some(Problem::KeyNotFound(_) | Problem::AnotherLeads { .. }) => return Some(NOT_FOUND),
        Some(Problem::Refused(_)) => return Some(REFUSED),
        Some(Problem::NothingMoves(_)) => return Some(NOT_FOUND),
        Some(Problem::SeveralClusters(_)) => return Some(Code::NOT_WELL),
        Some(Problem::BadArguments(_) | Problem::File { .. }) => return Some(BAD_ARGUMENTS),
        Some(Problem::Backup { error: BackupError::Io(_), .. }) => return Some(BAD_ARGUMENTS),
        Some(Problem::Backup { .. }) => return Some(NOT_FOUND),
        None => {}
    }
    let io = error.downcast_ref::<io::Error>();
    if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return None;
    }
    Some(BAD_ARGUMENTS)
}

fn client_code(error: &ClientError) -> Code {
    match error {
        ClientError::BadEndpoint { .. }
        | ClientError::BadTlsFile { .. }
        | ClientError::BadToken
        | ClientError::TokenOverPlaintext
        | ClientError::BadClusterId { .. }
        | ClientError::SeveralClusters { .. }
        | ClientError::NoEndpoint
        | ClientError::TooManyEndpoints
        | ClientError::KeyLength { .. }
        | ClientError::PrefixLength { .. }
        | ClientError::ScanLimit
        | ClientError::ValueLength { .. } => BAD_ARGUMENTS,
        ClientError::Unreachable { .. }
        | ClientError::ScanInterrupted { .. }
        | ClientError::BackupInterrupted { .. }
        | ClientError::ForeignNodes { last: Some(_), .. } => UNREACHABLE,
        ClientError::Refused { .. }
        | ClientError::ForeignNodes { .. }
        | ClientError::ForeignAnswer { wrote: false, .. } => REFUSED,
        ClientError::OutcomeUnknown { .. } | ClientError::ForeignAnswer { .. } => OUTCOME_UNKNOWN,
    }
}

/// The client's errors name their causes themselves.
fn message(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ClientError>() {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}
