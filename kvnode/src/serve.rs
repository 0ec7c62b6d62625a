//! `kvnode serve`, from the checked configuration to the closed storage.

use std::time::Duration;

use anyhow::Context as _;
use raftnode::Node;
use raftnode::shutdown::StopRequests;

use crate::api::{self, DELETE, GET, PUT, SCAN};
use crate::app::{APPLICATION_NAME, KvApplication};
use crate::config::Config;
use raftnode::logging;

/// How long storage may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a node until it is asked to stop.
///
/// # Errors
/// If it cannot start, or had failed before it was asked to stop.
pub(crate) fn serve(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(run(config));
    // Dropping what the tasks hold closes the storage.
    runtime.shutdown_timeout(CLOSE_TIMEOUT);
    outcome
}

async fn run(config: &Config) -> anyhow::Result<()> {
    let mut requests = StopRequests::listen(config.exit_on_stdin_eof).context("cannot listen for signals")?;
    let builder = Node::builder(KvApplication)
        .name(APPLICATION_NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .services(&["kv.v1.Kv"], api::services)
        .scopes(api::check_scope)
        .operations(&[PUT, GET, DELETE, SCAN])
        .metrics(logging::collectors()?);
    let node = tokio::select! {
        started = builder.start(config.node.clone()) => started?,
        reason = requests.next() => {
            tracing::info!("stopped by {reason} before it had started");
            return Ok(());
        }
    };
    node.run_until(requests.first(logging::flush)).await?;
    Ok(())
}
