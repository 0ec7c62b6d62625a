//! A clock that is set before 1970, as that of a board without a battery can be.
//!
//! Nothing here depends on the time of day but what is shown. hyper does: it panics when it
//! writes the date of an answer from such a time.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use axum::http::header::DATE;
use axum::response::Response;

/// What a node says where it cannot answer for this.
pub(crate) const CLOCK_ADVICE: &str = "the clock of this machine is before 1970; set it";

/// Whether the clock cannot be right.
pub(crate) fn is_before_1970() -> bool {
    SystemTime::now() < UNIX_EPOCH
}

/// Gives an answer the earliest date there is, so that hyper does not look for one.
pub(crate) async fn dated(mut response: Response) -> Response {
    if is_before_1970() {
        response.headers_mut().insert(DATE, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
    }
    response
}
