//! The network between real servers, on real sockets. One theme a file, one binary for all of them:
//! openraft is compiled once for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod append_stream;
mod cluster;
mod deadlines;
mod refusal;
mod restarts;
mod support;
