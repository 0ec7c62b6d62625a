//! What needs more than a Rust toolchain: root, a C library's tracer, a browser, Python,
//! Prometheus' linter. `.ci/run` installs all of it and runs this:
//!
//! ```sh
//! cargo test --release --workspace --test external
//! ```
//!
//! A test whose program is missing fails and names it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod full_disk;
mod operations;
mod page;
mod page_looks;
mod page_pictures;
mod promtool;
mod python;
#[path = "../support/mod.rs"]
mod support;
mod sync_before_answer;
