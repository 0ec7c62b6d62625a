//! The exit codes that scripts rely on, and where each error gets its own.

use std::io::{self, Write as _};
use std::process::ExitCode;

use kvcli::{ClientError, TraceId};
use serde_json::json;

use crate::output::Format;

/// The same table for every `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  key not found, or a condition not met
  2  cluster unreachable, or it has no leader; nothing was applied
  3  bad arguments, or a local file that cannot be read or written
  4  refused by the server; nothing was applied
  5  outcome unknown: the write may or may not have been applied";

const NOT_FOUND: u8 = 1;
const UNREACHABLE: u8 = 2;
const BAD_ARGUMENTS: u8 = 3;
const REFUSED: u8 = 4;
const OUTCOME_UNKNOWN: u8 = 5;

/// What can go wrong on this side of the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// Nothing is stored under the key.
    #[error("no such key: {0}")]
    KeyNotFound(String),
    /// Arguments that parse but make no sense together.
    #[error("{0}")]
    BadArguments(String),
}

/// Ends the program after a command. A failure that a node had a part in names its trace.
pub(crate) fn finish(result: anyhow::Result<()>, format: Format, trace: Option<TraceId>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
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
        (Format::Json, None) => json!({ "error": text, "exit_code": code }).to_string(),
        (Format::Json, Some(trace)) => {
            json!({ "error": text, "exit_code": code, "trace_id": trace }).to_string()
        }
    };
    // There is nowhere left to report that stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(code)
}

/// Ends the program after a command line that was not understood, or that asked for help.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // As above; and help into a closed pipe is no error.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(BAD_ARGUMENTS) } else { ExitCode::SUCCESS }
}

/// None: not an error at all, the reader of our output went away.
fn code(error: &anyhow::Error) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return Some(client_code(error));
    }
    match error.downcast_ref::<Problem>() {
        Some(Problem::KeyNotFound(_)) => return Some(NOT_FOUND),
        Some(Problem::BadArguments(_)) => return Some(BAD_ARGUMENTS),
        None => {}
    }
    let io = error.downcast_ref::<io::Error>();
    if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return None;
    }
    Some(BAD_ARGUMENTS)
}

fn client_code(error: &ClientError) -> u8 {
    match error {
        ClientError::BadEndpoint { .. }
        | ClientError::NoEndpoint
        | ClientError::TooManyEndpoints
        | ClientError::KeyLength { .. }
        | ClientError::PrefixLength { .. }
        | ClientError::ScanLimit
        | ClientError::ValueLength { .. } => BAD_ARGUMENTS,
        ClientError::Unreachable { .. } | ClientError::ScanInterrupted { .. } => UNREACHABLE,
        ClientError::Refused { .. } => REFUSED,
        ClientError::OutcomeUnknown { .. } => OUTCOME_UNKNOWN,
    }
}

/// The client's errors name their causes themselves.
fn message(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ClientError>() {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}
