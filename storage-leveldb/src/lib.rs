//! Durable storage for [openraft] over LevelDB: a log store and a state machine that any
//! application can use by implementing one small trait, [`Application`].
//!
//! ```no_run
//! # use storage_leveldb::{Application, Options, StandardTypes, Storage, StorageError, durable_config};
//! # async fn open<C: StandardTypes, A: Application<C>>(application: A) -> Result<(), StorageError> {
//! let storage = Storage::<C, A>::open("data".as_ref(), application, Options::default()).await?;
//! let config = durable_config();
//! // `config`, `storage.log` and `storage.state` go to `openraft::Raft::new`, `storage.reader` answers
//! // queries.
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
//! Top down: [`Storage`] opens a directory; the [`log`](LogStore) has a thread that owns an
//! [`Engine`], the [`state`](StateMachine) consists of [`Table`]s, which any thread reads; LevelDB is
//! an engine and makes tables; under it lie checksummed file formats, and under those a [`Disk`].
//!
//! ## Features
//!
//! - `testing`: the module `testing`, a simulated disk that loses power, and crash, fault and
//!   determinism tests for an application. Tests switch it on, among the `[dev-dependencies]`.
//!
//! None is on by default.

pub mod check;
mod command_check;
pub mod config;
mod cross_check;
mod disk;
mod engine;
mod error;
mod file;
mod health;
#[cfg(feature = "testing")]
mod invariants;
mod log;
mod lsm;
mod observer;
mod options;
mod owned_thread;
mod raft;
mod sizes;
mod storage;
#[cfg(feature = "testing")]
pub mod testing;

pub use command_check::{CommandError, MAX_COMMAND_BYTES, check_command, encode_command};
pub use config::{UnsafeConfig, check_config, durable_config};
pub use disk::{Disk, PendingCall, ReadFile, RealDisk, WriteFile};
pub use engine::{
    Batch, Durability, Engine, EngineFactory, KeyRange, LevelDb, LevelDbOptions, MemoryEngine, Op, ScanLimit,
    Table, TableWriter,
};
pub use error::StorageError;
pub use health::{Fault, FaultKind, Health};
pub use lsm::{Transaction, View};
pub use observer::{Db, NoObserver, Observer, StallCause};
pub use options::Options;
pub use raft::{
    Application, LogReader, LogStore, SnapshotBuilder, SnapshotFile, SnapshotInbox, StandardTypes,
    StateMachine, StateReader,
};
pub use sizes::Sizes;
pub use storage::Storage;

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
