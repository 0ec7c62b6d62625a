//! Putting a node together: sockets first, then storage, then consensus, then the surfaces.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use network_grpc::{GrpcNetwork, NetworkOptions, PeerPlaces, RaftService};
use storage_leveldb::{Fault, SnapshotInbox, Storage, StorageError};
use tokio::task::JoinSet;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use super::Listeners;
use super::error::StartError;
use super::faulty::FaultyNode;
use super::open_files::raise_limit;
use super::part::Part;
use super::peer_news::PeerNews;
use super::servers::{Guards, Servers};
use crate::api::{Api, ClientServices, Reporter};
use crate::application::{Hosted, stored_meta};
use crate::auth::{Auth, Guard, NeedsOf, Refusals, ScopeCheck};
use crate::cluster::Overview;
use crate::config::{NodeConfig, Peers, Program};
use crate::data_dir::{Claim, DataDir};
use crate::history::{self, History};
use crate::http;
use crate::identity::Identity;
use crate::metrics::{Collectors, Metrics, Op};
use crate::peer::{Enrollment, PeerService};
use crate::raft::{Raft, TypeConfig, raft_config};
use crate::standing::{
    Handles, LeaderWatch, Local, join, joins_another, steward, succeed_leader, watch_data_dir, watch_digests,
    watch_disk, watch_memory, watch_schemas, watch_snapshots,
};
use crate::tls::{Dialler, Tls};

/// How often gRPC health is brought in line with readiness.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);

/// Makes what an application serves to clients and over HTTP, over its node.
type MakeSurfaces = Box<dyn FnOnce(Part) -> (ClientServices, Router) + Send>;

/// What a node is started with, whatever its application is.
pub(super) struct Plan {
    pub(super) config: NodeConfig,
    pub(super) program: Program,
    pub(super) hosted: Hosted,
    /// The application's own operations, for the metrics.
    pub(super) ops: Vec<Op>,
    pub(super) collectors: Collectors,
    /// What an entry of a principal's scope is; none: the application knows no scopes.
    pub(super) scopes: Option<ScopeCheck>,
    /// The services whose health is told.
    pub(super) service_names: Vec<&'static str>,
    /// What the application serves to clients and over HTTP, once it has something to serve it
    /// with.
    pub(super) surfaces: MakeSurfaces,
}

/// How a start ended that has not failed altogether.
pub(super) enum Started {
    /// It serves.
    Serving { api: Arc<Api>, servers: Servers, watchers: JoinSet<()> },
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
    Other(StartError),
}

impl<E: Into<StartError>> From<E> for CoreError {
    fn from(e: E) -> Self {
        Self::Other(e.into())
    }
}

impl Plan {
    /// Binds the sockets, claims the data directory, and starts everything over it.
    ///
    /// # Errors
    /// If the node cannot start for another reason than a fault of its storage.
    pub(super) fn start(self) -> BoxFuture<'static, Result<Started, StartError>> {
        // Boxed, as is all that generic code awaits: else its machine code would be made again in
        // every program that names an application.
        Box::pin(self.start_parts())
    }

    async fn start_parts(mut self) -> Result<Started, StartError> {
        raise_limit();
        // Before the data directory is stamped: who has to choose another port has another peer
        // list then.
        let config = self.config.clone();
        let scopes = self.scopes;
        let loaded = tokio::task::spawn_blocking(move || -> Result<_, StartError> {
            Ok((Tls::load(&config)?, Auth::load(&config, scopes)?))
        });
        let (tls, auth) = loaded.await.map_err(|e| StartError::part("TLS")(&e))??;
        let listeners = Listeners::bind(&self.config).await?;
        let config = self.config.clone();
        let opened = tokio::task::spawn_blocking(move || open(&config)).await;
        let data_dir = Arc::new(opened.map_err(|e| StartError::part("the data directory")(&e))??);
        check_cluster(&self.config, &data_dir.identity(), &tls).await?;
        let (id, cluster) = (self.config.id, &self.config.cluster_name);
        let metrics = Metrics::new(self.program, id, cluster, &self.ops).and_then(|metrics| {
            metrics.add(std::mem::take(&mut self.collectors))?;
            Ok(Arc::new(metrics))
        });
        let metrics = metrics.map_err(|e| StartError::part("the metrics")(&e))?;
        let http_addr = http_addr(&self.config, &listeners)?;
        match Core::start(&self.config, self.hosted.clone(), &data_dir, &metrics, &tls).await {
            Ok(core) => self.serve(core, http_addr, metrics, (listeners, tls, auth), &data_dir),
            Err(CoreError::Fault(fault)) => Ok(Started::Faulty(
                FaultyNode::start(
                    self.program,
                    &self.config,
                    &data_dir.identity(),
                    fault,
                    http_addr,
                    metrics,
                    (listeners, &tls, &auth),
                    Arc::clone(&data_dir),
                    &self.service_names,
                    |faulty| (self.surfaces)(Part::Faulty(Arc::clone(faulty))).1,
                )
                .await,
            )),
            Err(CoreError::Other(e)) => Err(e),
        }
    }

    fn serve(
        self,
        core: Core,
        http_addr: String,
        metrics: Arc<Metrics>,
        (listeners, tls, auth): (Listeners, Tls, Auth),
        data_dir: &DataDir,
    ) -> Result<Started, StartError> {
        let Core { handles, inbox, places } = core;
        let local = Arc::new(Local::new(self.program, &self.config, http_addr, handles));
        let history = Arc::new(History::default());
        let reporter = Reporter::new(Arc::clone(&local), Arc::clone(&history));
        let overview = Overview::new(reporter.clone(), local.dialler.clone());
        let api = Api::new(
            Arc::clone(&local),
            Arc::clone(&metrics),
            reporter.clone(),
            Arc::clone(&overview),
            &self.hosted,
        );
        let (application, application_http) = (self.surfaces)(Part::Serving(Arc::clone(&api)));
        let services = api.services(&application);
        let (clients, health) = services.map_err(|e| StartError::part("gRPC reflection")(&e))?;

        let mut watchers = JoinSet::new();
        watchers.spawn(watch_data_dir(data_dir.fingerprint(), local.health.clone()));
        watchers.spawn(tls.clone().watch());
        watchers.spawn(auth.clone().watch(metrics.auth.clone()));
        watchers.spawn(watch_disk(Arc::clone(&local)));
        watchers.spawn(watch_leader(&local, &metrics));
        watchers.spawn(succeed_leader(Arc::clone(&local)));
        watchers.spawn(Arc::clone(&local).watch_affiliation());
        watchers.spawn(join(Arc::clone(&local)));
        watchers.spawn(steward::run(Arc::clone(&local)));
        watchers.spawn(watch_schemas(Arc::clone(&local)));
        watchers.spawn(watch_digests(Arc::clone(&local), metrics.digests.clone()));
        watchers.spawn(watch_memory(Arc::clone(&local)));
        watchers.spawn(steward::follow_places(Arc::clone(&local), places));
        watchers.spawn(history::run(Arc::clone(&local), Arc::clone(&metrics), history));
        watchers.spawn(watch_snapshots(Arc::clone(&local), Arc::clone(self.hosted.applied_bytes())));
        watchers.spawn(report_health(Arc::clone(&local), health, self.service_names));

        let peers = api.peer_services(peer_routes(&local, inbox, &metrics));
        let refusals = Refusals::new(metrics.auth.clone());
        let needs = NeedsOf::clients(&application.needs);
        let guards = Guards {
            clients: Guard::of_grpc(&auth, needs, &refusals, local.id),
            http: Guard::of_http(&auth, &refusals),
        };
        let surface = http::Surface::new(local, metrics, reporter, overview);
        let http = http::router(surface, application_http);
        let servers = Servers::start(listeners, (&tls, guards), peers, clients, http);
        Ok(Started::Serving { api, servers, watchers })
    }
}

/// Claims the data directory. Blocks on the disk.
fn open(config: &NodeConfig) -> Result<DataDir, StartError> {
    let found = Identity::read(&config.data_dir).ok().flatten();
    let member = found.and_then(|found| found.identity.member);
    let (own, peers) = (config.own_member(), config.peers.as_ref());
    if let Some(problem) = config.join.problems(&own, peers).into_iter().next() {
        return Err(problem.into());
    }
    if member.is_none() {
        config.check_own_entry()?;
    }
    if config.accept_moved_data {
        tracing::warn!(
            "--accept-moved-data is given: a copy of this node's data would be taken for the newest state, and a copy \
             that is older loses acknowledged writes; leave it out from the next start on"
        );
    }
    let claim =
        Claim { node_id: config.id, peers: config.peers.clone(), accept_moved: config.accept_moved_data };
    Ok(DataDir::open(&config.data_dir, &claim)?)
}

/// A member never changes its cluster. That it is told to join another is a mistake in its options
/// or its data directory.
async fn check_cluster(config: &NodeConfig, identity: &Identity, tls: &Tls) -> Result<(), StartError> {
    let Some(member) = identity.member.filter(|_| config.join.is_asked()) else { return Ok(()) };
    let (dialler, own) = (Dialler::new(tls.clone()), member.cluster_id.to_string());
    match joins_another(&dialler, &config.join, (&own, &config.own_member())).await {
        None => Ok(()),
        Some((address, found)) => {
            Err(StartError::AnotherCluster { dir: config.data_dir.clone(), own, address, found })
        }
    }
}

fn peer_routes(local: &Arc<Local>, inbox: SnapshotInbox, metrics: &Metrics) -> Routes {
    let make_room = move |announced| {
        let inbox = inbox.clone();
        async move { inbox.create_for(&announced).await }
    };
    let mut network = NetworkOptions::default();
    network.observer = Arc::new(PeerNews::new(Arc::clone(&metrics.network), Arc::clone(local)));
    let raft = local.raft.clone();
    let peers = RaftService::new(raft, local.identity().clone(), make_room, network);
    Routes::new(peers.into_server()).add_service(PeerService::server(Arc::clone(local)))
}

impl Core {
    async fn start(
        config: &NodeConfig,
        hosted: Hosted,
        data_dir: &Arc<DataDir>,
        metrics: &Metrics,
        tls: &Tls,
    ) -> Result<Self, CoreError> {
        let dir = data_dir.storage();
        let must_exist = data_dir.identity().stored;
        let mut options = config.memory.options();
        options.must_exist = must_exist;
        options.accept_copy = config.accept_moved_data;
        options.observer = metrics.storage.clone();
        let storage = Storage::open(&dir, hosted.clone(), options).await.map_err(|e| match e {
            StorageError::Fault(fault) => CoreError::Fault(fault),
            source => StartError::Storage { path: dir.clone(), source }.into(),
        })?;
        // What it took to replay the logs is not needed again.
        tokio::task::spawn_blocking(malloc_trim::malloc_trim);
        // Before the first vote is given.
        data_dir.mark_stored()?;
        let health = storage.health.clone();
        // Consensus reads what it finds: damage may come to light only here.
        let core = async {
            let meta = storage.reader.query(stored_meta()).await;
            let meta = meta.map_err(|source| StartError::Storage { path: dir.clone(), source })?;
            hosted.found(crate::application::meta_found(meta)).map_err(|found| {
                let own = hosted.in_force().own();
                StartError::Schema { dir: config.data_dir.clone(), found, own }
            })?;
            Self::over(config, data_dir, storage, &hosted, metrics, Dialler::new(tls.clone())).await
        };
        core.await.map_err(|e| match health.fault() {
            Some(fault) => CoreError::Fault(fault),
            None => CoreError::Other(e),
        })
    }

    async fn over(
        config: &NodeConfig,
        data_dir: &Arc<DataDir>,
        storage: Storage<TypeConfig, Hosted>,
        hosted: &Hosted,
        metrics: &Metrics,
        dialler: Dialler,
    ) -> Result<Self, StartError> {
        let raft_config = Arc::new(raft_config(&config.cluster_name, config.snapshot_entries)?);
        let enrollment = Arc::new(Enrollment::new(Arc::clone(data_dir)));
        let (identity, options) = (enrollment.identity().clone(), network_options(metrics));
        let network = match dialler.connector() {
            None => GrpcNetwork::new(identity, options),
            Some(connector) => GrpcNetwork::with_connector(identity, options, connector),
        };
        let places = network.places();
        // All members may have moved at once; then only the options know where they are.
        for (id, peer) in config.peers.iter().flat_map(Peers::iter) {
            places.also_at(&id, &peer.raft_addr);
        }
        let raft = Raft::new(config.id, raft_config, network, storage.log, storage.state).await;
        let raft = raft.map_err(|e| StartError::part("consensus")(&e))?;
        // The core publishes what it found on disk before it answers its first question. Until then
        // its metrics are those of a node that belongs to no cluster, and clients would be told so.
        let cluster = raft.with_raft_state(|state| {
            let membership = state.membership_state.effective();
            membership.nodes().next().map(|(_, member)| member.cluster_id())
        });
        let cluster = cluster.await.map_err(|e| StartError::part("consensus")(&e))?;
        let own = enrollment.identity().member().map(|member| member.cluster_id);
        if cluster.is_some() && cluster != own {
            return Err(StartError::Mixed(config.data_dir.clone()));
        }
        let handles = Handles {
            raft,
            reader: storage.reader,
            health: storage.health,
            sizes: storage.sizes,
            leader_watch: LeaderWatch::default(),
            enrollment,
            in_force: Arc::clone(hosted.in_force()),
            trail: Arc::clone(hosted.trail()),
            peers: data_dir.identity().peers,
            dialler,
        };
        Ok(Self { handles, inbox: storage.inbox, places })
    }
}

/// What is advertised, unless port 0 was asked for.
fn http_addr(config: &NodeConfig, listeners: &Listeners) -> Result<String, StartError> {
    if config.http.advertise != config.http.bind {
        return Ok(config.http.advertise.to_string());
    }
    let bound = listeners.http_addr();
    let bound = bound.map_err(|source| StartError::System { action: "tell the HTTP address", source })?;
    Ok(bound.to_string())
}

fn network_options(metrics: &Metrics) -> NetworkOptions {
    let mut options = NetworkOptions::default();
    options.observer = metrics.network.clone();
    options
}

fn watch_leader(local: &Arc<Local>, metrics: &Arc<Metrics>) -> impl Future<Output = ()> + use<> {
    let metrics = Arc::clone(metrics);
    let changed = move || metrics.raft.leader_changes.inc();
    local.leader_watch.clone().run(local.raft.clone(), changed)
}

async fn report_health(local: Arc<Local>, health: HealthReporter, services: Vec<&'static str>) {
    let mut reported = None;
    loop {
        let ready = local.ready().is_ok();
        if reported != Some(ready) {
            let status = if ready {
                tonic_health::ServingStatus::Serving
            } else {
                tonic_health::ServingStatus::NotServing
            };
            for service in &services {
                health.set_service_status(service, status).await;
            }
            reported = Some(ready);
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}
