//! `/livez` and `/readyz`: 200 `ok`, or 503 and the reason.
//!
//! A node whose storage failed is not live: it will never serve again without a restart, and its
//! supervisor should know. The process itself stays up, so that the reason can be read here. A node
//! that waits for a leader, or for its cluster to be initialised, is live and not ready.

use axum::extract::State;
use axum::http::StatusCode;

use super::Surface;
use crate::standing::{Faulty, Standing, explain};

pub(super) async fn livez(State(surface): State<Surface>) -> (StatusCode, String) {
    match surface.local.standing() {
        Standing::Good => ok(),
        Standing::Faulty(fault) => unavailable(&explain(&fault)),
        Standing::Stopped(_) if surface.local.is_stopping() => ok(),
        Standing::Stopped(reason) => unavailable(&format_args!("consensus has stopped: {reason}")),
    }
}

pub(super) async fn readyz(State(surface): State<Surface>) -> (StatusCode, String) {
    match surface.local.ready() {
        Ok(()) => ok(),
        Err(reason) => unavailable(&reason),
    }
}

/// Both, of a node whose storage cannot be opened.
pub(super) fn faulty(faulty: &Faulty) -> (StatusCode, String) {
    unavailable(&explain(&faulty.fault))
}

fn ok() -> (StatusCode, String) {
    (StatusCode::OK, "ok\n".to_owned())
}

fn unavailable(reason: &dyn std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
}
