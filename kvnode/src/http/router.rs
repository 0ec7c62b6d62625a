//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;

use super::{StatusDocument, health, page};
use crate::metrics::Metrics;
use crate::node::Local;

/// The text format's media type.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What HTTP shows.
#[derive(Clone)]
pub struct Surface {
    /// This node.
    pub local: Arc<Local>,
    /// Its series.
    pub metrics: Arc<Metrics>,
}

/// All paths.
pub fn router(surface: Surface) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/api/status", get(status))
        .route("/metrics", get(metrics))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .with_state(surface)
}

async fn status(State(surface): State<Surface>) -> Json<StatusDocument> {
    Json(StatusDocument::of(&surface.local).await)
}

async fn status_page(State(surface): State<Surface>) -> Html<String> {
    Html(page::render(&StatusDocument::of(&surface.local).await))
}

async fn metrics(State(surface): State<Surface>) -> Response {
    surface.local.with_metrics(|now| surface.metrics.raft.refresh(now));
    surface.metrics.storage.refresh(surface.local.disk_bytes().await);
    match surface.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(e) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {e}\n")).into_response()
        }
    }
}
