//! What is in `deploy/`, run: by Docker, Prometheus, systemd's checker, and the programs that cargo
//! has built for the workspace. `.ci/run` installs them.
//!
//! Tests that run a cluster do so one at a time ([`support::alone`]).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod compose;
mod dashboard;
mod elk;
mod metrics;
mod rules;
mod support;
mod systemd;
mod yaml;
