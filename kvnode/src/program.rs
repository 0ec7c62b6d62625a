//! What `main` does: arguments in, exit code out.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use raftnode::StartError;
use raftnode::logging::{self, Source};
use raftnode::rebuild::RebuildError;
use raftnode::trace::Exporter;

use crate::config::{self, CheckArgs, Cli, Command, Config, ConfigErrors, ServeArgs};

use crate::recover::NotAccepted;
use crate::{cert, check, playground, recover, restore, serve};

/// Exit code for arguments that cannot be understood, or do not fit together or the data directory.
pub const EXIT_BAD_ARGUMENTS: u8 = 3;
/// Whose log lines, and spans for the trace collector, these are.
const SERVICE: &str = "kvnode";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Exit code for every other failure.
pub const EXIT_FAILURE: u8 = 1;

/// Runs the program with these arguments (the first is its name) and environment.
pub fn run(args: impl Iterator<Item = OsString>, env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(Cli { command: Some(Command::Playground(args)), .. }) => exit_code(playground::run(&args)),
        Ok(Cli { command: Some(Command::Cert(args)), .. }) => exit_code(cert::run(&args)),
        Ok(Cli { command: Some(Command::Token), .. }) => token(),
        Ok(Cli { command: Some(Command::Check(args)), .. }) => check(&args, env),
        Ok(Cli { command: Some(Command::Restore(args)), .. }) => exit_code(restore::run(&args)),
        Ok(Cli { command: Some(Command::Recover(args)), .. }) => exit_code(recover::run(&args)),
        Ok(Cli { command: Some(Command::Serve(args)), .. }) => serve(&args, env),
        Ok(Cli { command: None, serve: args }) => serve(&args, env),
        Err(e) => explain(&e),
    }
}

/// The token is for its client alone, and the hash for the nodes.
fn token() -> ExitCode {
    let (token, hash) = raftnode::auth::new_token();
    println!("token         {token}  (keep it secret: for kvcli --token-file)");
    println!("token-sha256  {hash}  (for --auth-file)");
    ExitCode::SUCCESS
}

fn serve(args: &ServeArgs, env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    malloc_trim::limit_arenas();
    match Config::load(args, env) {
        Ok(config) => match config.log.install(source(&config)) {
            Ok(_flush_at_end) => logged(serve_traced(&config)),
            Err(e) => exit_code(Err(anyhow::Error::new(e).context("cannot start the thread that logs"))),
        },
        // It is not known yet how lines should look, and a person has to act on it: plain text, and
        // the exit code.
        Err(errors) => bad_arguments(&errors),
    }
}

fn source(config: &Config) -> Source {
    Source::new(SERVICE, VERSION, config.node.id, &config.node.cluster_name)
}

fn check(args: &CheckArgs, env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    match config::data_dir(args, env) {
        Ok(data_dir) => check::run(&data_dir, args.output),
        Err(errors) => bad_arguments(&errors),
    }
}

fn bad_arguments(errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(EXIT_BAD_ARGUMENTS)
}

/// Spans are sent as long as the node runs, and a little longer.
fn serve_traced(config: &Config) -> anyhow::Result<()> {
    let (id, cluster) = (config.node.id, &config.node.cluster_name);
    let start = |endpoint| Exporter::start(endpoint, (SERVICE, VERSION), id, cluster);
    let _exporter = config.otlp_endpoint.as_ref().map(start).transpose()?;
    serve::serve(config)
}

/// Prints clap's message; asking for help or the version is no error.
fn explain(error: &clap::Error) -> ExitCode {
    if let Err(e) = error.print() {
        eprintln!("cannot print: {e}");
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_BAD_ARGUMENTS),
    }
}

fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            logging::say(&format!("error: {e:#}"));
            ExitCode::from(failure_code(&e))
        }
    }
}

/// A start that no further start will mend has the code that keeps a supervisor from trying again.
fn failure_code(error: &anyhow::Error) -> u8 {
    let misfit = error.downcast_ref().is_some_and(StartError::is_misfit)
        || error.downcast_ref().is_some_and(RebuildError::is_misfit);
    if misfit || error.is::<ConfigErrors>() || error.is::<NotAccepted>() {
        EXIT_BAD_ARGUMENTS
    } else {
        EXIT_FAILURE
    }
}

/// The last line of a node that ends badly: in the log, or where a person sees it if the filter
/// lets no error through.
fn logged(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Err(e) if tracing::enabled!(tracing::Level::ERROR) => {
            tracing::error!(event.action = "exit", event.outcome = "failure", "kvnode ends: {e:#}");
            ExitCode::from(failure_code(&e))
        }
        outcome => exit_code(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn usage_errors_exit_with_three() {
        let run = |args: &[&str]| {
            let args: Vec<OsString> =
                std::iter::once("kvnode").chain(args.iter().copied()).map(Into::into).collect();
            format!("{:?}", run(args.into_iter(), &|_| None))
        };
        let three = format!("{:?}", ExitCode::from(3));
        for args in
            [&["--colour"][..], &[], &["serve"], &["playground", "--nodes", "0"], &["--id", "0"], &["check"]]
        {
            assert_eq!(run(args), three, "{args:?}");
        }
        assert_eq!(run(&["--version"]), format!("{:?}", ExitCode::SUCCESS));
    }
}
