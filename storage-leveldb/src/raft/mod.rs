//! openraft's traits over the log and the state: the only part of the storage that knows openraft.
//!
//! ```text
//! openraft ─▶ LogStore, LogReader ─▶ log
//!        └──▶ StateMachine ─▶ bounded queue ─▶ apply thread ─▶ lsm
//! queries ──▶ StateReader ──────────────────────────────────────┘ (any thread)
//! ```
//!
//! Applying does not touch the disk. The entries are durable in the log before they are committed,
//! and openraft applies again whatever the state machine has lost; the log is purged only up to a
//! snapshot, and the snapshot is the part of the state that is durable. So after any crash state
//! and log together hold every applied entry.

pub(crate) mod application;
mod apply_thread;
mod log_reader;
pub(crate) mod log_records;
mod log_store;
pub(crate) mod position;
pub(crate) mod snapshot;
mod snapshot_file;
mod snapshot_receiver;
mod snapshot_source;
mod standing;
mod state_machine;
mod state_reader;
mod state_snapshot;

pub(crate) use application::merge_function;
pub use application::{Application, StandardTypes};
pub use log_reader::LogReader;
pub use log_store::LogStore;
pub use snapshot_file::{SnapshotFile, SnapshotInbox};
pub(crate) use standing::Standing;
pub use state_machine::{SnapshotBuilder, StateMachine};
pub use state_reader::StateReader;
pub use state_snapshot::StateSnapshot;
