//! Durable storage for [openraft] over LevelDB: a log store and a state machine that any
//! application can use by implementing one small trait, [`Application`].
//!
//! ```
//! use futures_util::stream;
//! use openraft::entry::RaftEntry;
//! use openraft::storage::{RaftLogStorageExt, RaftStateMachine};
//! use openraft::type_config::alias::{EntryOf, LeaderIdOf};
//! use openraft::{BasicNode, LogId, vote::RaftLeaderId};
//! use storage_leveldb::{Application, Options, Storage, StorageError, Transaction, View, openraft};
//!
//! openraft::declare_raft_types!(Visits: D = String, R = usize, NodeId = u64, Node = BasicNode);
//!
//! /// Appends a stroke to what is stored of a page.
//! struct Tally;
//!
//! impl Application<Visits> for Tally {
//!     type Query = ();
//!     type Answer = Vec<(String, usize)>;
//!
//!     fn apply(&self, txn: &mut Transaction<'_>, _: u64, page: &String) -> Result<usize, StorageError> {
//!         let strokes = [&txn.get(page.as_bytes())?.unwrap_or_default()[..], b"|"].concat();
//!         txn.put(page.as_bytes(), &strokes);
//!         Ok(strokes.len())
//!     }
//!
//!     fn query(&self, view: &mut View<'_>, (): ()) -> Result<Self::Answer, StorageError> {
//!         let pairs = view.scan("a".."z");
//!         pairs.map(|pair| pair.map(|(page, n)| (page.escape_ascii().to_string(), n.len()))).collect()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let mut node = Storage::<Visits, _>::open(dir.path(), Tally, Options::default()).await?;
//! // `node.log`, `node.state` and `durable_config()` go to `openraft::Raft::new`, which does this:
//! let log_id = LogId::new(LeaderIdOf::<Visits>::new(1, 1).to_committed(), 1);
//! let entry = EntryOf::<Visits>::new_normal(log_id, "home".to_owned());
//! node.log.blocking_append([entry.clone()]).await?;
//! node.state.apply(stream::iter([Ok((entry, None))])).await?;
//!
//! drop(node);
//! let node = Storage::<Visits, _>::open(dir.path(), Tally, Options::default()).await?;
//! assert_eq!(node.reader.query(()).await?, [("home".to_owned(), 1)]);
//! # Ok(())
//! # }
//! ```
//!
//! openraft's default configuration is not safe with a durable store: see [`config`]. A command is
//! looked at by [`check_command`] before it is proposed, because openraft cannot refuse it after
//! that.
//!
//! What it promises: a vote is on disk before it is given, an entry before it is acknowledged, a
//! snapshot before the log it replaces is purged. The first failed write, sync or checksum stops
//! everything ([`Health`]); nothing is ever answered from damaged bytes.
//!
//! Top down: [`Storage`] opens a directory; the [`log`](LogStore) has a thread that owns a LevelDB,
//! the [`state`](StateMachine) consists of tables, which any thread reads; under both lie file
//! formats with checksums, and under those a disk.
//!
//! What few programs need is in modules: [`check`] verifies a directory, [`config`] and [`command`]
//! say why something is unsafe, [`health`] and [`observer`] what a storage does, [`scan`] which
//! keys are read, [`raft`] what openraft holds.
//!
//! ## Features
//!
//! - `testing`: the module `testing`, a simulated disk that loses power, and crash, fault and
//!   determinism tests for an application; the traits of a disk and of an engine. Tests switch it
//!   on, among the `[dev-dependencies]`.
//!
//! None is on by default.

pub mod check;
pub mod command;
pub mod config;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub, reason = "public in `testing::disk`"))]
mod disk;
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub, reason = "public in `testing::engine`"))]
mod engine;
mod error;
mod file;
pub mod health;
#[cfg(feature = "testing")]
mod invariants;
mod log;
mod lsm;
mod monitor;
pub mod observer;
mod options;
mod owned_thread;
pub mod raft;
pub mod scan;
mod sizes;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use openraft;

pub use command::check_command;
pub use config::durable_config;
pub use error::StorageError;
pub use health::{Fault, Health};
pub use lsm::{Transaction, View};
pub use options::Options;
pub use raft::{
    Application, LogStore, SnapshotFile, SnapshotInbox, StandardTypes, StateMachine, StateReader,
};
pub use sizes::Sizes;
pub use storage::Storage;

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
