//! The three servers, each on its socket, each stopped on its own.

use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::codegen::StdError;
use tonic::service::Routes;

use super::{Listeners, open_files};
use crate::api::Api;
use crate::auth::{Guard, guarded};
use crate::connections::{ConnectionLimits, Incoming, Patience, Places, counted};
use crate::http::{HTTP_HEADER_TIMEOUT, serve};
use crate::tls::{Port, Tls};

/// What every request passes before a service sees it. Peers prove themselves by TLS, and what they
/// send was checked by them.
pub(super) struct Guards {
    pub(super) clients: Guard,
    pub(super) http: Guard,
}

/// The servers of one node.
pub(super) struct Servers {
    /// For clients.
    pub(super) client: RunningServer,
    /// For peers.
    pub(super) raft: RunningServer,
    /// For HTTP.
    pub(super) http: RunningServer,
}

/// A server task and the way to end it.
pub(super) struct RunningServer {
    name: &'static str,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Servers {
    pub(super) fn start(
        listeners: Listeners,
        (tls, guards): (&Tls, Guards),
        peers: Routes,
        clients: Routes,
        http: Router,
    ) -> Self {
        let network = network_grpc::NetworkOptions::default();
        let limits = ConnectionLimits::of(open_files::limit());
        let incoming = |name, listener, bound, port| {
            Incoming::new(name, listener, Places::new(bound, Patience::default())).secured(tls.port(port))
        };
        let client = incoming("client", listeners.client, limits.clients, Port::Client);
        let raft = incoming("peer", listeners.raft, limits.peers, Port::Peer);
        let http_incoming = incoming("HTTP", listeners.http, limits.http, Port::Http);
        let clients = guarded(clients.into_axum_router(), guards.clients);
        Self {
            client: serve_grpc("client", Api::server_builder(), clients, client),
            raft: serve_grpc("peer", network_grpc::server_builder(&network), peers.into_axum_router(), raft),
            http: serve_http(guarded(http, guards.http), http_incoming),
        }
    }
}

fn serve_grpc(
    name: &'static str,
    mut server: tonic::transport::Server,
    router: Router,
    incoming: Incoming,
) -> RunningServer {
    let routes = Routes::from(counted(router));
    RunningServer::start(name, async move |stopped| {
        let accepted = incoming.into_stream();
        let served = server.add_routes(routes).serve_with_incoming_shutdown(accepted, stopped).await;
        served.map_err(StdError::from)
    })
}

fn serve_http(router: Router, incoming: Incoming) -> RunningServer {
    RunningServer::start("HTTP", async move |stopped| {
        serve(incoming, router, HTTP_HEADER_TIMEOUT, stopped).await;
        Ok(())
    })
}

impl RunningServer {
    fn start<S, F>(name: &'static str, serve: S) -> Self
    where
        S: FnOnce(Stopped) -> F,
        F: Future<Output = Result<(), StdError>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let served = serve(Box::pin(async move { drop(stopped.await) }));
        let task = tokio::spawn(async move {
            if let Err(e) = served.await {
                tracing::error!("the {name} server failed: {e}");
            }
        });
        Self { name, stop, task }
    }

    /// Accepts nothing more and waits, for `drain` at most, until what is under way is answered.
    pub(super) async fn stop(self, drain: Duration) {
        if self.stop.send(()).is_err() {
            tracing::debug!("the {} server had ended before", self.name);
        }
        let abort = self.task.abort_handle();
        if tokio::time::timeout(drain, self.task).await.is_err() {
            tracing::debug!("the {} server still had connections after {drain:?}", self.name);
            abort.abort();
        }
    }
}

type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
