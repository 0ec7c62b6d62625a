//! The commands of the guide, which need more than a Rust toolchain. `.ci/run` calls it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod guide;
#[path = "../suite/support/mod.rs"]
mod support;
