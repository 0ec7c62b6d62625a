//! The state machine: applied log id, membership and the application's pairs, in one database.
//!
//! ```text
//! openraft worker ─▶ StateMachine ─┐
//! queries ─────────▶ StateReader ──┴▶ bounded queue ─▶ owner thread ─▶ engine
//! ```
//!
//! Applying does not sync. The entries are durable in the log before they are committed, and openraft applies
//! again whatever the state machine has lost; the log is purged only up to a snapshot, and a snapshot is
//! reported only when it and the state it was made from are durable. So after any crash state machine,
//! snapshot and log together hold every applied entry.

mod application;
mod cache;
mod cached_engine;
mod command;
mod database;
mod install;
pub(crate) mod key;
mod machine;
mod owner;
mod position;
mod raft_snapshot_builder;
mod raft_state_machine;
mod reader;
mod transaction;
mod view;

pub use application::{Application, StandardTypes};
pub(crate) use database::StateDirectory;
pub use machine::StateMachine;
pub(crate) use position::Position;
pub use raft_snapshot_builder::SnapshotBuilder;
pub use reader::StateReader;
pub use transaction::Transaction;
pub use view::View;
