//! `kvnode serve`, from the checked configuration to the closed storage.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::faulty::FaultyNode;
use super::handover::give_leadership_away;
use super::open_files::raise_limit;
use super::start::Started;
use super::{Listeners, Local, Node, Standing, explain};
use crate::config::Config;
use crate::data_dir::{Claim, DataDir};
use crate::identity::Identity;
use crate::shutdown::StopRequests;

/// How long requests under way may take once no new ones are accepted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer's streams may take to end once consensus has stopped.
const PEER_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a running node looks whether it still works.
const STANDING_INTERVAL: Duration = Duration::from_millis(100);
/// How long consensus may take to stop.
const RAFT_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long storage may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The last word of a node that had failed; its log has said how.
const FAILED: &str = "stopped, having served nothing since the failure named in the log";

/// Runs a node until it is asked to stop.
///
/// # Errors
/// If it cannot start, or had failed before it was asked to stop.
pub fn serve(config: &Config) -> anyhow::Result<()> {
    raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Before the data directory is stamped: who has to choose another port has another peer list then.
    let listeners = runtime.block_on(Listeners::bind(config))?;
    let data_dir = Arc::new(open(config)?);
    let outcome = runtime.block_on(run(config, &data_dir, listeners));
    // Dropping what the tasks hold closes the storage; the lock is given up only after that.
    runtime.shutdown_timeout(CLOSE_TIMEOUT);
    drop(data_dir);
    outcome
}

fn open(config: &Config) -> anyhow::Result<DataDir> {
    let found = Identity::read(&config.data_dir).ok().flatten();
    let member = found.and_then(|found| found.identity.member);
    if member.is_none() {
        config.check_own_entry()?;
    }
    let claim =
        Claim { node_id: config.id, peers: config.peers.clone(), accept_moved: config.accept_moved_data };
    Ok(DataDir::open(&config.data_dir, &claim)?)
}

async fn run(config: &Config, data_dir: &Arc<DataDir>, listeners: Listeners) -> anyhow::Result<()> {
    let mut requests = StopRequests::listen(config.exit_on_stdin_eof).context("cannot listen for signals")?;
    let started = tokio::select! {
        started = Node::start(config, data_dir, listeners) => started?,
        reason = requests.next() => {
            tracing::info!("stopped by {reason} before it had started");
            return Ok(());
        }
    };
    match started {
        Started::Node(node) => run_node(config, node, requests).await,
        Started::Faulty(node) => run_faulty(node, requests).await,
    }
}

/// A node that has failed stays up to say why on /livez, /readyz and in every answer.
async fn run_node(config: &Config, node: Node, mut requests: StopRequests) -> anyhow::Result<()> {
    announce(config, &node.local);
    let mut failure = None;
    let reason = tokio::select! {
        reason = requests.next() => reason,
        why = failure_of(&node.local) => {
            tracing::error!("{why}");
            failure = Some(why);
            tokio::spawn(stop_consensus(Arc::clone(&node.local)));
            requests.next().await
        }
    };
    tracing::info!("stopping: {reason}");
    // It may have failed since it was last looked at, and its surfaces have said so.
    if failure.is_none() {
        failure = failed(&node.local).inspect(|why| tracing::error!("{why}"));
    }
    tokio::spawn(exit_at_the_next(requests));
    node.stop().await;
    if failure.is_some() { Err(anyhow::anyhow!(FAILED)) } else { Ok(()) }
}

/// The same for a node that never got its storage open.
async fn run_faulty(node: FaultyNode, mut requests: StopRequests) -> anyhow::Result<()> {
    tracing::error!("{}", explain(&node.faulty.fault));
    let reason = requests.next().await;
    tracing::info!("stopping: {reason}");
    tokio::spawn(exit_at_the_next(requests));
    node.stop().await;
    Err(anyhow::anyhow!(FAILED))
}

fn announce(config: &Config, local: &Local) {
    tracing::info!(
        node = config.id,
        cluster = config.cluster_name,
        cluster_id = local.cluster_id(),
        clients = %config.client.bind,
        peers = %config.raft.bind,
        http = local.http_addr,
        data = %config.data_dir.display(),
        "kvnode {} is up", env!("CARGO_PKG_VERSION")
    );
}

/// Why this node serves nothing any more, once that is so.
async fn failure_of(local: &Local) -> String {
    loop {
        if let Some(why) = failed(local) {
            return why;
        }
        tokio::time::sleep(STANDING_INTERVAL).await;
    }
}

fn failed(local: &Local) -> Option<String> {
    match local.standing() {
        Standing::Good => None,
        Standing::Faulty(fault) => Some(explain(&fault)),
        Standing::Stopped(reason) => Some(format!("consensus has stopped: {reason}; restart this node")),
    }
}

/// A fault that was found by reading does not stop consensus: a leader would go on sending heartbeats, refuse
/// every request, and nobody would take over.
async fn stop_consensus(local: Arc<Local>) {
    give_leadership_away(&local).await;
    if let Err(e) = local.raft.shutdown().await {
        tracing::warn!("consensus did not stop cleanly: {e}");
    }
}

/// Somebody who asks twice does not want to wait.
async fn exit_at_the_next(mut requests: StopRequests) {
    let reason = requests.next().await;
    tracing::warn!("exiting at once: {reason} again");
    crate::logging::flush();
    std::process::exit(1);
}

impl Node {
    /// Hands leadership over, finishes what is under way, stops consensus.
    async fn stop(self) {
        self.local.begin_stopping();
        give_leadership_away(&self.local).await;
        self.servers.client.stop(DRAIN_TIMEOUT).await;
        // On a task of its own, because it may panic: openraft's core that has ended by itself is waited for by whoever
        // notices first, and if that is a request that is then given up, every later `shutdown` panics (alpha.37). Found by
        // the damage test: a node with a damaged table ended with 101 in place of 1.
        let local = Arc::clone(&self.local);
        let stopped = tokio::spawn(async move { local.raft.shutdown().await });
        match tokio::time::timeout(RAFT_STOP_TIMEOUT, stopped).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(e))) => tracing::warn!("consensus did not stop cleanly: {e}"),
            Ok(Err(e)) => tracing::warn!("consensus did not stop cleanly: {e}"),
            Err(_) => tracing::warn!("consensus did not stop within {RAFT_STOP_TIMEOUT:?}"),
        }
        self.servers.raft.stop(PEER_DRAIN_TIMEOUT).await;
        self.servers.http.stop(PEER_DRAIN_TIMEOUT).await;
        tracing::info!("stopped");
    }
}
