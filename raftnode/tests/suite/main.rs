//! Nodes of applications that make mistakes, of programs that are upgraded, that differ, and that
//! ask for rights. One theme a file, one binary for all of them.

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
mod diverged;
mod encodings;
mod nodes;
mod planted;
mod ports;
mod rights;
mod upgrade;
