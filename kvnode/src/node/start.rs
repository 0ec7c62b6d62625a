//! Putting a node together: sockets first, then storage, then consensus, then the surfaces.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use network_grpc::{GrpcNetwork, NetworkOptions, RaftService};
use storage_leveldb::{Options, Storage};
use tonic_health::server::HealthReporter;

use super::local::Handles;
use super::servers::Servers;
use super::{LeaderWatch, Listeners, Local};
use crate::api::Api;
use crate::app::KvApplication;
use crate::config::Config;
use crate::http;
use crate::metrics::Metrics;
use crate::raft::{Raft, raft_config};

/// How often gRPC health is brought in line with readiness.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);
/// The services whose health is reported; the empty name stands for the whole server.
const HEALTH_SERVICES: [&str; 3] = ["", "kv.v1.Kv", "kv.v1.Cluster"];

/// A running node.
pub struct Node {
    pub(super) local: Arc<Local>,
    pub(super) servers: Servers,
}

impl Node {
    /// Starts everything over the storage directory `dir`, on sockets that are bound already.
    ///
    /// # Errors
    /// If storage or consensus cannot start: damaged files, for example, which the error names.
    pub async fn start(config: &Config, dir: &Path, listeners: Listeners) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new().context("cannot register the metrics")?);
        let options = Options { observer: metrics.storage.clone(), ..Options::default() };
        let storage = Storage::open(dir, KvApplication, options)
            .await
            .with_context(|| format!("cannot open the storage in {}", dir.display()))?;

        let network = network_options(&metrics);
        let raft_config = Arc::new(raft_config(&config.cluster_id, config.snapshot_entries)?);
        let raft = Raft::new(
            config.id,
            raft_config,
            GrpcNetwork::new(config.cluster_id.clone(), network.clone()),
            storage.log,
            storage.state,
        )
        .await
        .context("cannot start consensus")?;
        // The core publishes what it found on disk before it answers its first question. Until then its
        // metrics are those of a node that belongs to no cluster, and clients would be told so.
        raft.with_raft_state(|_| ()).await.context("consensus stopped as soon as it was started")?;

        let handles = Handles {
            raft: raft.clone(),
            reader: storage.reader,
            health: storage.health,
            sizes: storage.sizes,
            leader_watch: LeaderWatch::default(),
        };
        let http_addr = http_addr(config, &listeners)?;
        let local = Arc::new(Local::new(config, http_addr, handles));
        watch_leader(&local, &metrics);

        let inbox = storage.inbox;
        let make_room = move || {
            let inbox = inbox.clone();
            async move { inbox.create().await }
        };
        let peers = RaftService::new(raft, config.cluster_id.clone(), config.id, make_room, network);
        let clients = Api::new(Arc::clone(&local), Arc::clone(&metrics)).services()?;
        tokio::spawn(report_health(Arc::clone(&local), clients.health));
        let surface = http::Surface { local: Arc::clone(&local), metrics };
        let servers = Servers::start(listeners, peers.into_server(), clients.routes, http::router(surface));
        Ok(Self { local, servers })
    }
}

/// What is advertised, unless port 0 was asked for.
fn http_addr(config: &Config, listeners: &Listeners) -> anyhow::Result<String> {
    if config.http.advertise != config.http.bind {
        return Ok(config.http.advertise.to_string());
    }
    Ok(listeners.http_addr().context("cannot tell the HTTP address")?.to_string())
}

fn network_options(metrics: &Metrics) -> NetworkOptions {
    let mut options = NetworkOptions::default();
    options.observer = metrics.network.clone();
    options
}

fn watch_leader(local: &Arc<Local>, metrics: &Arc<Metrics>) {
    let metrics = Arc::clone(metrics);
    let changed = move || metrics.raft.leader_changes.inc();
    tokio::spawn(local.leader_watch.clone().run(local.raft.clone(), changed));
}

async fn report_health(local: Arc<Local>, health: HealthReporter) {
    let mut reported = None;
    loop {
        let ready = local.ready().is_ok();
        if reported != Some(ready) {
            let status = if ready {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            for service in HEALTH_SERVICES {
                health.set_service_status(service, status).await;
            }
            reported = Some(ready);
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}
