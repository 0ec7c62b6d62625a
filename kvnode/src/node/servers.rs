//! The three servers, each on its socket, each stopped on its own.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::codegen::StdError;
use tonic::service::Routes;

use super::Listeners;
use crate::api::Api;
use crate::http::{HttpLimits, serve};

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
    pub(super) fn start(listeners: Listeners, peers: Routes, clients: Routes, http: Router) -> Self {
        let network = network_grpc::NetworkOptions::default();
        Self {
            client: serve_grpc("client", Api::server_builder(), clients, listeners.client),
            raft: serve_grpc("raft", network_grpc::server_builder(&network), peers, listeners.raft),
            http: serve_http(http, listeners.http),
        }
    }
}

fn serve_grpc(
    name: &'static str,
    mut server: tonic::transport::Server,
    routes: Routes,
    listener: TcpListener,
) -> RunningServer {
    RunningServer::start(name, async move |stopped| {
        let accepted = network_grpc::incoming(listener);
        let served = server.add_routes(routes).serve_with_incoming_shutdown(accepted, stopped).await;
        served.map_err(StdError::from)
    })
}

fn serve_http(router: Router, listener: TcpListener) -> RunningServer {
    RunningServer::start("HTTP", async move |stopped| {
        serve(listener, router, HttpLimits::default(), stopped).await;
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
