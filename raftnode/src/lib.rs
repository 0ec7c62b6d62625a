//! A member of a Raft cluster, for any application.
//!
//! An author writes an [`Application`]: how a command changes pairs of bytes, and how a query reads
//! them. A [`Node`] is everything between that and its sockets: consensus (openraft), durable
//! storage (`storage-leveldb`), the network (`network-grpc`), identity, forwarding of writes and
//! linearizable reads, exactly-once, membership, health, metrics, a status page, and a graceful
//! stop.
//!
//! The guide is in `docs/guide` of the repository: `first-application.md`, `embedding.md` (a node
//! in a server that your program has), `running-a-cluster.md`, `determinism.md`,
//! `changing-your-types.md`, `testing.md`. Whole applications are in `examples/src/bin`.
//!
//! ## Features
//!
//! - `args`: the module `args`, a node's options on a command line, for clap.
//! - `logging`: the module `logging`, log lines as text or JSON that no slow reader holds up.
//! - `testing`: the module `testing`, crash, fault and determinism tests for an author's
//!   application. Tests switch it on, among the `[dev-dependencies]`.
//!
//! None is on by default.

mod api;
mod application;
#[cfg(feature = "args")]
pub mod args;
pub mod auth;
pub mod check;
mod cluster;
pub mod config;
mod connections;
pub mod data_dir;
mod history;
mod http;
pub mod identity;
#[cfg(feature = "logging")]
pub mod logging;
mod metrics;
mod node;
mod peer;
mod raft;
pub mod rebuild;
pub mod shutdown;
mod standing;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod throttle;
pub mod tls;
pub mod trace;

pub use api::{
    Answered, Call, ClientServices, DEFAULT_DEADLINE, MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, MAX_MESSAGE_BYTES,
    MAX_STREAM_REQUESTS, Place, in_messages,
};
pub use application::{Application, At, ClusterTime, MergeOperator, RequestId, Transaction, View};
pub use auth::{Caller, Needs, Right};
pub use config::{Address, AuthOptions, JoinOptions, MemoryLimits, NodeConfig, Peers, TlsOptions};
pub use metrics::{Op, OpKind};
pub use node::{
    AnswerStream, Builder, Ended, Error, Exchange, Failed, Node, Outcome, Requests, StartError, UntilError,
};
pub use proto::node::v1 as wire;
pub use raft::{Member, NodeId, SNAPSHOT_ENTRIES};
pub use storage_leveldb::StorageError;
pub use storage_leveldb::scan::{KeyRange, ScanLimit};

/// What a typed value that was found in a scan is.
///
/// # Errors
/// It is no `T`.
pub fn decode<T: serde::de::DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StorageError> {
    application::decoded(key, value)
}

/// What [`Transaction::store`] writes of a value: to keep the bytes of each version of a type in a
/// test, which [`decode`] reads.
///
/// # Errors
/// It cannot be encoded.
pub fn encode<T: serde::Serialize>(key: &[u8], value: &T) -> Result<Vec<u8>, StorageError> {
    application::encoded(key, value)
}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
