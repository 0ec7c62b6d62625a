//! The `kvcli` binary: parses the command line, runs one command, turns its end into an exit code.

mod bench;
mod cli;
mod exit;
mod json;
mod output;
mod table;
mod units;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let (format, trace) = (cli.global.output, cli.trace());
    exit::finish(cli.run(trace), format, trace)
}
