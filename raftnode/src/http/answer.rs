//! An outcome as JSON: a failure is an object with `error`, and `applied`, which is `no` (it has
//! changed nothing and never will) or `unknown`.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use serde::Serialize;
use serde_json::json;

use crate::node::Error;

pub(super) fn answered<T: Serialize>(outcome: Result<T, Error>) -> Response {
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => failed(&error),
    }
}

pub(super) fn failed(error: &Error) -> Response {
    let code = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let applied = if matches!(error, Error::Unknown(_)) { "unknown" } else { "no" };
    (code, Json(json!({ "error": error.to_string(), "applied": applied }))).into_response()
}

/// Of a request that no part of the node has seen.
pub(super) fn refused(code: StatusCode, reason: &str) -> Response {
    (code, Json(json!({ "error": reason, "applied": "no" }))).into_response()
}
