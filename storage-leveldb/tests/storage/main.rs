//! What the storage must keep, whatever the disk does. One theme a file, one binary for all:
//! linking costs more than running most of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod careless;
mod check;
mod check_contents;
mod check_damage;
mod conformance;
mod copies;
mod crash;
mod determinism;
mod engine;
mod entry_blocks;
mod faults;
mod fixtures;
mod log;
mod merging;
mod owner_threads;
mod reserved;
mod snapshots;
mod state;
mod support;
mod tables;
mod third_engine;
mod writer;
