//! The state machine: the application's pairs, and how far they have come.
//!
//! ```text
//! openraft ─▶ StateMachine ─▶ bounded queue ─▶ thread that applies ─▶ memtable ─▶ flush thread ─▶ runs ◀▶ merge thread
//! queries ──▶ StateReader ───────────────────────────────────────────────┴──────────────────────────┘ (any thread)
//! ```
//!
//! Applying does not touch the disk. The entries are durable in the log before they are committed, and openraft applies
//! again whatever the state machine has lost; the log is purged only up to a snapshot, and the snapshot is the part of
//! the state that is durable. So after any crash state and log together hold every applied entry.
//!
//! Runs are immutable. Which of them make up the state, and at what position, is in one small file, [`root`], which is
//! replaced as a whole: after a flush, after a merge, and when a snapshot is installed.

mod application;
mod call;
mod change;
mod command;
mod durable;
mod flush;
mod inbox;
#[cfg(feature = "testing")]
mod invariants;
pub(crate) mod key;
mod key_filter;
mod layers;
mod machine;
mod memtable;
mod merge;
mod merge_operator;
mod merged;
mod owner;
mod position;
mod raft_snapshot_builder;
mod raft_state_machine;
mod reader;
mod receive;
mod root;
mod run;
mod snapshot_file;
mod store;
mod transaction;
mod view;
mod work;

pub use application::{Application, StandardTypes};
pub use inbox::SnapshotInbox;
pub use machine::StateMachine;
pub(crate) use merge_operator::ApplicationMerge;
pub use raft_snapshot_builder::SnapshotBuilder;
pub use reader::StateReader;
pub(crate) use root::{ROOT, Root};
pub use snapshot_file::SnapshotFile;
pub(crate) use store::{Store, run_name, run_number};
pub use transaction::Transaction;
pub use view::View;
