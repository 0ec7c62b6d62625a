//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use super::answer::refused;
use super::history::HistoryDocument;
use super::{StatusDocument, health, page};
use crate::api::Reporter;
use crate::cluster::Overview;
use crate::metrics::Metrics;
use crate::standing::{DiskSpace, Faulty, Local};

/// The text format's media type.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What HTTP shows.
#[derive(Clone)]
pub(crate) struct Surface {
    /// This node.
    pub local: Arc<Local>,
    /// Its series.
    pub metrics: Arc<Metrics>,
    reporter: Reporter,
    overview: Arc<Overview>,
}

impl Surface {
    /// Of a node that runs.
    #[must_use]
    pub(crate) fn new(
        local: Arc<Local>,
        metrics: Arc<Metrics>,
        reporter: Reporter,
        overview: Arc<Overview>,
    ) -> Self {
        Self { local, metrics, reporter, overview }
    }
}

/// All paths, those of the application included.
pub(crate) fn router(surface: Surface, application: Router) -> Router {
    let cluster = cluster_router(surface.reporter.clone(), Arc::clone(&surface.overview));
    let own = Router::new()
        .route("/api/status", get(status))
        .route("/metrics", get(metrics))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .with_state(surface)
        .merge(cluster);
    whole(own.merge(application))
}

/// With an answer for all that is not there.
fn whole(router: Router) -> Router {
    router.fallback(no_such_path).method_not_allowed_fallback(no_such_method)
}

/// The same paths on a node whose storage cannot be opened.
pub(crate) fn faulty_router(
    faulty: Arc<Faulty>,
    metrics: Arc<Metrics>,
    reporter: Reporter,
    overview: Arc<Overview>,
    application: Router,
) -> Router {
    let document = StatusDocument::of_faulty(&faulty);
    let health = health::faulty(&faulty);
    let readiness = health.clone();
    let own = Router::new()
        .route("/api/status", get(async move || Json(document.clone())))
        .route("/metrics", get(async move || faulty_metrics(&faulty, &metrics).await))
        .route("/livez", get(async move || health.clone()))
        .route("/readyz", get(async move || readiness.clone()))
        .merge(cluster_router(reporter, overview));
    whole(own.merge(application))
}

/// What every node has, in whatever state it is.
fn cluster_router(reporter: Reporter, overview: Arc<Overview>) -> Router {
    let series = Arc::clone(&overview);
    Router::new()
        .route("/", get(page::serve))
        .route("/api/history", get(async move || Json(HistoryDocument::of(&reporter).await)))
        .route("/api/cluster", get(async move || Json(&*overview.document().await).into_response()))
        .route("/api/cluster/history", get(async move || Json(&*series.series().await).into_response()))
}

async fn no_such_path(uri: Uri) -> Response {
    refused(StatusCode::NOT_FOUND, &format!("there is nothing at {} on this node", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Response {
    let reason = format!("{} does not take {method}; the header 'allow' says what it takes", uri.path());
    refused(StatusCode::METHOD_NOT_ALLOWED, &reason)
}

async fn status(State(surface): State<Surface>) -> Json<StatusDocument> {
    Json(StatusDocument::of(&surface.local).await)
}

async fn faulty_metrics(faulty: &Faulty, metrics: &Metrics) -> Response {
    metrics.storage.refresh_faulted(true);
    if let Some(space) = DiskSpace::of(&faulty.data_dir).await {
        metrics.storage.refresh_space(space);
    }
    encoded(metrics)
}

async fn metrics(State(surface): State<Surface>) -> Response {
    surface.metrics.refresh(&surface.local).await;
    let health = match surface.local.quorum_acked() {
        Some(_) => Some(surface.overview.recent_health().await),
        None => None,
    };
    surface.metrics.members.refresh(health.as_ref());
    encoded(&surface.metrics)
}

fn encoded(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(e) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {e}\n")).into_response()
        }
    }
}
