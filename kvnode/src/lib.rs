//! `kvnode`: the replicated key-value server.
//!
//! An openraft application on two crates that know nothing about it: `storage-leveldb` keeps the log and
//! the state, `network-grpc` talks to the other nodes. What is here: what a command means (`app`),
//! how the parts are put together (`node`), and the surfaces: clients (`api`), people and
//! their monitoring (`http`, `metrics`, `history`), all three over `connections`, the operator (`config`, `logging`, `trace`, `playground`, `check`).

pub mod api;
pub mod app;
pub mod check;
pub mod cluster;
pub mod config;
pub mod connections;
pub mod data_dir;
pub mod history;
pub mod http;
pub mod identity;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod peer;
pub mod playground;
mod program;
pub mod raft;
pub mod shutdown;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod trace;

pub use api::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use app::{Answer, Command, Found, KvApplication, PairRecord, Query, RequestId, Response, ScanQuery};
pub use config::{Cli, Config, ConfigErrors, Peers};
pub use identity::Identity;
pub use program::{EXIT_BAD_ARGUMENTS, EXIT_FAILURE, run};
pub use raft::{Member, NodeId, Raft, TypeConfig};
