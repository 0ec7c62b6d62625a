//! What must hold of real `kvnode` processes, on real sockets, under real kills. One theme a file,
//! one binary for all of them: linking costs more than running some of them.
//!
//! A few clusters run at once ([`support::beside_others`]); a test that measures runs
//! [`support::alone`]. What needs other programs is in `tests/external`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod adoption;
mod backup;
mod bad_input;
mod check;
mod clock;
mod connections;
mod copies;
mod damage;
mod damage_live;
mod data_dir;
mod dedup;
mod disk_hangs;
mod failover;
mod fall_behind;
mod founding;
mod identity;
mod joining;
mod kill;
mod log_filter;
mod log_reader;
mod logs;
mod logs_otlp;
mod membership;
mod membership_safety;
mod memory;
mod memory_flip;
mod metrics;
mod metrics_cost;
mod metrics_reference;
mod next_leader;
mod playground;
mod quorum_lost;
mod readme;
mod real_input;
mod recover;
mod replacing;
mod restore;
mod rights;
mod rights_changes;
mod rights_model;
mod rights_scope;
mod rolling_restart;
mod session;
mod signals;
mod single_node;
mod start_up;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tls_changes;
