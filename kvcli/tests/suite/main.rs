//! The client and the `kvcli` binary against a fake node: what users see, and what goes over the
//! wire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod arguments;
mod bench;
mod cluster;
mod exit_codes;
mod fake;
mod identity;
mod names;
mod program;
mod python_example;
mod retry;
mod scan;
mod shares;
mod values;
