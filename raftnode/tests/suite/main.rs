//! Nodes of applications that make mistakes, and of programs that are upgraded. One theme a file,
//! one binary for all of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod answers;
mod planted;
mod ports;
mod upgrade;
