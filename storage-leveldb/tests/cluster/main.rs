//! Whole clusters of openraft in one process, over a simulated network: what the configuration is
//! for.
//!
//! One binary, because every binary with another type configuration compiles openraft again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod elections;
mod graphs;
mod leader_restore;
mod sim_network;
mod support;
