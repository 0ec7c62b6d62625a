//! openraft's network over gRPC, generic over the application.
//!
//! Owns everything between two members' `openraft::Raft` handles: connections, the pipelined append
//! stream, the unary calls, the snapshot stream, and the checks on what a peer sends. The
//! application gives [`GrpcNetwork`] to `Raft::new` and serves a [`RaftService`] on its peer
//! listener; the protocol is `raft.v1` of `raftnode-proto`, payloads travel as bytes made by
//! `raftnode-codec`.
//!
//! Lanes: replication (and votes), heartbeats and snapshots each have a TCP connection of their own
//! per peer, so that none waits behind another's bytes.
//!
//! ## Features
//!
//! None is on by default. `testing` is for the fuzz targets of the repository and not part of the
//! interface.

mod address;
mod client;
mod connection;
mod connector;
mod error;
mod identity;
mod observer;
mod options;
mod pool;
mod server;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod wire;

pub use address::PeerAddress;
pub use client::{GrpcNetwork, PeerClient, PeerPlaces};
pub use connector::{Connecting, Connector, Dial, PeerStream};
pub use error::PeerError;
pub use identity::{ClusterId, Incarnation, LocalIdentity, MemberIdentity, NotAnId};
pub use observer::{Observer, Rpc, Silent};
pub use options::{
    CONNECTION_WINDOW_BYTES, MAX_BATCH_BYTES, MAX_CONCURRENT_STREAMS, MAX_ENTRY_BYTES,
    MAX_INBOUND_STREAM_BYTES, MAX_INFLIGHT_BYTES, MAX_INFLIGHT_MESSAGES, MAX_MESSAGE_BYTES, NetworkOptions,
    SNAPSHOT_CHUNK_BYTES, SNAPSHOT_CHUNKS_QUEUED, STREAM_WINDOW_BYTES,
};
pub use server::{CertifiedSender, RaftService, incoming, server_builder};

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
