//! Measures the storage against its requirements.
//!
//! `cargo bench -p storage-leveldb -- NAME [--pairs N] [--seconds N] [--dir DIR]
//! ...`; `--help` lists the names, `all --quick` runs everything scaled down. It uses the crate's
//! public API only, the way openraft and an application do: see [`node`].
//!
//! Every benchmark prints tables and, for each requirement, what was measured, the limit, and `ok`
//! or `MISSED`. A ratio is taken within a round, whose two sides run right after each other, and
//! the median of the rounds counts: a change of the machine's speed shows in both sides.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops at the first error"
)]

mod all;
mod appends;
mod applies;
mod args;
mod bare_disk;
mod bounds;
mod bytes_written;
mod child;
mod counting_disk;
mod counts;
mod follower;
mod gets;
mod latencies;
mod load;
mod memory;
mod node;
mod pairs;
mod policy;
mod process;
mod random;
mod readers;
mod reopen;
mod requirement;
mod sleeper;
mod snapshots;
mod stalls;
mod table;
mod waits;
mod watched_disk;
mod worker;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Name};

fn main() -> ExitCode {
    // As kvnode does.
    malloc_trim::limit_arenas();
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    let args = Args::parse();
    if args.name.is_child() {
        run_child(&args).await;
        return ExitCode::SUCCESS;
    }
    args.announce();
    let requirements = all::run(&args).await;
    requirement::print(&requirements);
    let missed = requirements.iter().any(|requirement| !requirement.ok);
    if args.strict && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What a child process does; see [`child`].
async fn run_child(args: &Args) {
    match args.name {
        Name::ChildFollower => follower::run(args).await,
        Name::ChildWriter => reopen::write(args).await,
        Name::ChildBuilder => snapshots::build(args).await,
        _ => memory::idle_and_loaded(args).await,
    }
}
