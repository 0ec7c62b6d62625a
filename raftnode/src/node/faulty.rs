//! A node whose storage cannot be opened: it stays up to say why, and does nothing else.
//!
//! A process that exits is started again by its supervisor, and again, and its reason scrolls away.
//! This one keeps its ports and its data directory, and answers every request with the fault until
//! it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use proto::node::v1::EventKind;
use storage_leveldb::Fault;

use super::Listeners;
use super::servers::{Guards, Servers};
use crate::api::{Reporter, refusal};
use crate::auth::{Auth, Guard, NeedsOf, Refusals};
use crate::cluster::Overview;
use crate::config::{NodeConfig, Program};
use crate::data_dir::DataDir;
use crate::history::History;
use crate::http;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::standing::{Faulty, explain};
use crate::tls::{Dialler, Tls};

/// How long answers under way may take when the node is stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A running node that refuses everything.
pub(super) struct FaultyNode {
    pub(super) faulty: Arc<Faulty>,
    servers: Servers,
    // No other process may use the directory meanwhile.
    _data_dir: Arc<DataDir>,
}

impl FaultyNode {
    #[allow(clippy::too_many_arguments, reason = "each is a part of the node, made by then")]
    pub(super) async fn start(
        program: Program,
        config: &NodeConfig,
        identity: &Identity,
        fault: Fault,
        http_addr: String,
        metrics: Arc<Metrics>,
        (listeners, tls, auth): (Listeners, &Tls, &Auth),
        data_dir: Arc<DataDir>,
        service_names: &[&'static str],
        application_http: impl FnOnce(&Arc<Faulty>) -> Router,
    ) -> Self {
        let faulty = Arc::new(Faulty::new(program, config, identity, fault, http_addr));
        let history = Arc::new(History::default());
        history.add_event(EventKind::Fault, explain(&faulty.fault));
        let reporter = Reporter::of_faulty(Arc::clone(&faulty), history);
        let overview = Overview::new(reporter.clone(), Dialler::new(tls.clone()));
        let clients =
            refusal::client_routes(&faulty, reporter.clone(), Arc::clone(&overview), service_names).await;
        let peers = refusal::peer_routes(&faulty, reporter.clone(), Arc::clone(&overview));
        let refusals = Refusals::new(metrics.auth.clone());
        let guards = Guards {
            clients: Guard::of_grpc(auth, NeedsOf::clients_of_faulty(), &refusals, faulty.id),
            http: Guard::of_http(auth, &refusals),
        };
        let application = application_http(&faulty);
        let http = http::faulty_router(Arc::clone(&faulty), metrics, reporter, overview, application);
        let servers = Servers::start(listeners, (tls, guards), peers, clients, http);
        Self { faulty, servers, _data_dir: data_dir }
    }

    pub(super) async fn stop(self) {
        self.servers.client.stop(DRAIN_TIMEOUT).await;
        self.servers.raft.stop(DRAIN_TIMEOUT).await;
        self.servers.http.stop(DRAIN_TIMEOUT).await;
    }
}
