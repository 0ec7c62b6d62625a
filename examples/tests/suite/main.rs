//! The examples as processes on real sockets, and the code that the guide shows. One theme a file,
//! one binary for all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod admin;
mod bare_openraft;
mod ledger;
mod locks;
mod one_process;
mod pages;
mod processes;
mod queue;
mod quoted;
mod short;
mod support;
mod web;
