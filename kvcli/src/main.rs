//! The `kvcli` binary: parses the command line, runs one command, turns its end into an exit code.

mod cli;
mod exit;
mod json;
mod output;
mod table;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::from_command_line() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error, output::Format::sought(std::env::args_os())),
    };
    let (format, trace) = (cli.global.output, cli.trace());
    exit::finish(cli.run(trace), format, trace)
}
