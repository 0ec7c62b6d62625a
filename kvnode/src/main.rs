//! The `kvnode` program: parse, run, turn the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kvnode::run(std::env::args_os(), &|name| std::env::var(name).ok())
}
