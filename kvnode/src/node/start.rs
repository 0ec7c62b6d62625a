//! Putting a node together: sockets first, then storage, then consensus, then the surfaces.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use network_grpc::{GrpcNetwork, NetworkOptions, PeerPlaces, RaftService};
use storage_leveldb::{Fault, Options, SnapshotInbox, Storage, StorageError};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use super::data_dir_watch::watch_data_dir;
use super::disk_watch::watch_disk;
use super::faulty::FaultyNode;
use super::local::Handles;
use super::servers::Servers;
use super::{LeaderWatch, Listeners, Local, steward};
use crate::api::{Api, HEALTH_SERVICES, Reporter};
use crate::app::KvApplication;
use crate::cluster::Overview;
use crate::config::{Config, Peers};
use crate::data_dir::DataDir;
use crate::history::{self, History};
use crate::http;
use crate::metrics::Metrics;
use crate::peer::{Enrollment, PeerService};
use crate::raft::{Raft, TypeConfig, raft_config};

/// How often gRPC health is brought in line with readiness.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);
/// A running node.
pub struct Node {
    pub(super) local: Arc<Local>,
    pub(super) servers: Servers,
}

/// How a start ended that has not failed altogether.
pub(super) enum Started {
    /// It serves.
    Node(Node),
    /// Its storage cannot be used; it says so.
    Faulty(FaultyNode),
}

/// Storage and consensus, running.
struct Core {
    handles: Handles,
    inbox: SnapshotInbox,
    places: PeerPlaces<TypeConfig>,
}

/// Why there is no [`Core`].
enum CoreError {
    /// The storage is damaged, or there is no room to write.
    Fault(Fault),
    /// Anything else.
    Other(anyhow::Error),
}

impl Node {
    /// Starts everything over `data_dir`, on sockets that are bound already.
    ///
    /// # Errors
    /// If storage or consensus cannot start for another reason than a fault of the storage.
    pub(super) async fn start(
        config: &Config,
        data_dir: &Arc<DataDir>,
        listeners: Listeners,
    ) -> anyhow::Result<Started> {
        let metrics =
            Arc::new(Metrics::new(config.id, &config.cluster_name).context("cannot register the metrics")?);
        let http_addr = http_addr(config, &listeners)?;
        match Core::start(config, data_dir, &metrics).await {
            Ok(core) => {
                let local = Arc::new(Local::new(config, http_addr, core.handles));
                tokio::spawn(watch_data_dir(data_dir.fingerprint(), local.health.clone()));
                tokio::spawn(watch_disk(Arc::clone(&local)));
                Ok(Started::Node(Self::serve(local, (core.inbox, core.places), metrics, listeners)?))
            }
            Err(CoreError::Fault(fault)) => Ok(Started::Faulty(
                FaultyNode::start(config, &data_dir.identity(), fault, http_addr, metrics, listeners).await,
            )),
            Err(CoreError::Other(e)) => Err(e),
        }
    }

    fn serve(
        local: Arc<Local>,
        (inbox, places): (SnapshotInbox, PeerPlaces<TypeConfig>),
        metrics: Arc<Metrics>,
        listeners: Listeners,
    ) -> anyhow::Result<Self> {
        watch_leader(&local, &metrics);
        let make_room = move || {
            let inbox = inbox.clone();
            async move { inbox.create().await }
        };
        let (raft, network) = (local.raft.clone(), network_options(&metrics));
        let peers = RaftService::new(raft, local.identity().clone(), make_room, network);
        tokio::spawn(Arc::clone(&local).watch_affiliation());
        tokio::spawn(steward::run(Arc::clone(&local)));
        tokio::spawn(steward::follow_places(Arc::clone(&local), places));
        let history = Arc::new(History::default());
        tokio::spawn(history::run(Arc::clone(&local), Arc::clone(&metrics), Arc::clone(&history)));
        let reporter = Reporter::new(Arc::clone(&local), history);
        let overview = Overview::new(reporter.clone());
        let api = Api::new(Arc::clone(&local), Arc::clone(&metrics), reporter.clone(), Arc::clone(&overview));
        let clients = api.services()?;
        tokio::spawn(report_health(Arc::clone(&local), clients.health));
        let surface = http::Surface::new(Arc::clone(&local), metrics, reporter, overview);
        let peers = Routes::new(peers.into_server()).add_service(PeerService::server(Arc::clone(&local)));
        let servers = Servers::start(listeners, peers, clients.routes, http::router(surface));
        Ok(Self { local, servers })
    }
}

impl Core {
    async fn start(config: &Config, data_dir: &Arc<DataDir>, metrics: &Metrics) -> Result<Self, CoreError> {
        let dir = data_dir.storage();
        let must_exist = data_dir.identity().stored;
        let options = Options { must_exist, observer: metrics.storage.clone(), ..config.memory.options() };
        let storage = Storage::open(&dir, KvApplication, options).await.map_err(|e| match e {
            StorageError::Fault(fault) => CoreError::Fault(fault),
            e => CoreError::Other(
                anyhow::Error::new(e).context(format!("cannot open the storage in {}", dir.display())),
            ),
        })?;
        // What it took to replay the logs is not needed again.
        tokio::task::spawn_blocking(malloc_trim::malloc_trim);
        // Before the first vote is given.
        data_dir.mark_stored().map_err(|e| CoreError::Other(e.into()))?;
        let health = storage.health.clone();
        // Consensus reads what it finds: damage may come to light only here.
        Self::over(config, data_dir, storage, metrics).await.map_err(|e| match health.fault() {
            Some(fault) => CoreError::Fault(fault),
            None => CoreError::Other(e),
        })
    }

    async fn over(
        config: &Config,
        data_dir: &Arc<DataDir>,
        storage: Storage<TypeConfig, KvApplication>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let raft_config = Arc::new(raft_config(&config.cluster_name, config.snapshot_entries)?);
        let enrollment = Arc::new(Enrollment::new(Arc::clone(data_dir)));
        let network = GrpcNetwork::new(enrollment.identity().clone(), network_options(metrics));
        let places = network.places();
        // All members may have moved at once; then only the options know where they are.
        for (id, peer) in config.peers.iter().flat_map(Peers::iter) {
            places.also_at(&id, &peer.raft_addr);
        }
        let raft = Raft::new(config.id, raft_config, network, storage.log, storage.state).await;
        let raft = raft.context("cannot start consensus")?;
        // The core publishes what it found on disk before it answers its first question. Until then its
        // metrics are those of a node that belongs to no cluster, and clients would be told so.
        let cluster = raft.with_raft_state(|state| {
            let membership = state.membership_state.effective();
            membership.nodes().next().map(|(_, member)| member.cluster_id())
        });
        let cluster = cluster.await.context("consensus stopped as soon as it was started")?;
        let own = enrollment.identity().member().map(|member| member.cluster_id);
        if cluster.is_some() && cluster != own {
            // Directories of two nodes were mixed.
            bail!(
                "{} stores the log of another cluster than its IDENTITY names; put back what belongs together, or remove this node \
                 and add one with a new id and an empty directory",
                config.data_dir.display()
            );
        }
        let handles = Handles {
            raft,
            reader: storage.reader,
            health: storage.health,
            sizes: storage.sizes,
            leader_watch: LeaderWatch::default(),
            enrollment,
            peers: data_dir.identity().peers,
        };
        Ok(Self { handles, inbox: storage.inbox, places })
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
