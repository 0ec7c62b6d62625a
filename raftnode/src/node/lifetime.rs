//! A node from its start to its end: how it notices that it has failed, and how it stops.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::error::Failed;
use super::faulty::FaultyNode;
use super::servers::Servers;
use super::start::Started;
use crate::api::Api;
use crate::standing::{Local, Standing, explain, give_leadership_away};

/// How long requests under way may take once no new ones are accepted.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether requests are still under way.
const DRAIN_INTERVAL: Duration = Duration::from_millis(5);
/// How long a peer's streams may take to end once consensus has stopped.
const PEER_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a running node looks whether it still works.
const STANDING_INTERVAL: Duration = Duration::from_millis(100);
/// How long consensus may take to stop.
const RAFT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What runs of a node, until it is stopped.
pub(super) struct Lifetime(Started);

impl Lifetime {
    pub(super) fn new(started: Started) -> Self {
        match &started {
            Started::Serving { api, .. } => announce(api.local()),
            Started::Faulty(node) => tracing::error!("{}", explain(&node.faulty.fault)),
        }
        Self(started)
    }

    /// Runs until `asked` completes, and stops. A node that has failed stays up until then, to say
    /// why on /livez, /readyz and in every answer.
    ///
    /// # Errors
    /// It had failed before.
    pub(super) async fn run<T>(self, asked: impl Future<Output = T>) -> Result<T, Failed> {
        let (outcome, failed) = match &self.0 {
            Started::Serving { api, .. } => until(api, asked).await,
            Started::Faulty(_) => (asked.await, true),
        };
        self.stop().await;
        if failed { Err(Failed) } else { Ok(outcome) }
    }

    /// Hands leadership over, finishes what is under way, stops consensus and closes the sockets.
    pub(super) fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(self.stop_parts())
    }

    async fn stop_parts(self) {
        match self.0 {
            Started::Serving { api, servers, mut watchers } => {
                stop(&api, servers).await;
                watchers.shutdown().await;
            }
            Started::Faulty(node) => FaultyNode::stop(node).await,
        }
        tracing::info!("stopped");
    }
}

fn announce(local: &Local) {
    tracing::info!(
        node = local.id,
        cluster = local.cluster_name,
        cluster_id = local.cluster_id(),
        clients = local.own.client_addr,
        peers = local.own.raft_addr,
        http = local.http_addr,
        data = %local.data_dir.display(),
        "the node is up, version {}", local.program.version
    );
}

async fn until<T>(api: &Api, asked: impl Future<Output = T>) -> (T, bool) {
    let local = api.local();
    let mut asked = pin!(asked);
    let mut failure = None;
    let outcome = tokio::select! {
        outcome = &mut asked => outcome,
        why = failure_of(local) => {
            tracing::error!("{why}");
            failure = Some(why);
            tokio::spawn(stop_consensus(Arc::clone(local)));
            asked.await
        }
    };
    // It may have failed since it was last looked at, and its surfaces have said so.
    if failure.is_none() {
        failure = failed(local).inspect(|why| tracing::error!("{why}"));
    }
    (outcome, failure.is_some())
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

/// A fault that was found by reading does not stop consensus: a leader would go on sending
/// heartbeats, refuse every request, and no other node would take over.
async fn stop_consensus(local: Arc<Local>) {
    give_leadership_away(&local).await;
    if let Err(e) = local.raft.shutdown().await {
        tracing::warn!("consensus did not stop cleanly: {e}");
    }
}

async fn stop(api: &Arc<Api>, servers: Servers) {
    let local = api.local();
    local.begin_stopping();
    give_leadership_away(local).await;
    let drained = tokio::time::Instant::now() + DRAIN_TIMEOUT;
    servers.client.stop(DRAIN_TIMEOUT).await;
    // What peers have passed on is answered as well; their port serves consensus until it has
    // stopped.
    while !api.admission.is_empty() && tokio::time::Instant::now() < drained {
        tokio::time::sleep(DRAIN_INTERVAL).await;
    }
    // On a task of its own, because it may panic: openraft's core that has ended by itself is
    // waited for by the first task that notices, and if that is a request that is then given up,
    // every later `shutdown` panics (alpha.37). Found by the damage test: a node with a damaged
    // table ended with 101 in place of 1.
    let stopping = Arc::clone(local);
    let stopped = tokio::spawn(async move { stopping.raft.shutdown().await });
    match tokio::time::timeout(RAFT_STOP_TIMEOUT, stopped).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(e))) => tracing::warn!("consensus did not stop cleanly: {e}"),
        Ok(Err(e)) => tracing::warn!("consensus did not stop cleanly: {e}"),
        Err(_) => tracing::warn!("consensus did not stop within {RAFT_STOP_TIMEOUT:?}"),
    }
    servers.raft.stop(PEER_DRAIN_TIMEOUT).await;
    servers.http.stop(PEER_DRAIN_TIMEOUT).await;
}
