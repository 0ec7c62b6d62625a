//! `kvnode playground`: a whole cluster of real processes on this machine.
//!
//! Owns the directory, the ports and the child processes. Nothing here is used by a node.

mod child;
mod cluster;
mod print;
mod settings;
mod tls;

use anyhow::Context as _;

pub use cluster::PlaygroundArgs;

/// Runs the playground until Ctrl-C.
///
/// # Errors
/// If the cluster cannot be started, or all of its nodes have stopped.
pub fn run(args: &PlaygroundArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(cluster::run(args))
}
