//! Rust client of the replicated key-value store.
//!
//! [`Client`] speaks `kv.v1` to any node of a cluster: it goes to the last known leader first,
//! falls over to the other endpoints, and retries writes safely under one request id. The `kvcli`
//! binary of this crate is built on nothing else.
//!
//! ```no_run
//! # async fn example() -> Result<(), kvcli::ClientError> {
//! use kvcli::{Client, ClientOptions, ReadMode};
//!
//! let client = Client::connect(["127.0.0.1:7001", "127.0.0.1:7002"], ClientOptions::default())?;
//! client.put("greeting", "hello").await?;
//! let answer = client.get("greeting", ReadMode::Linearizable).await?;
//! assert_eq!(answer.pair.map(|pair| pair.value), Some("hello".into()));
//! # Ok(())
//! # }
//! ```

mod client;

pub use client::{
    Backup, Cause, Client, ClientError, ClientOptions, ClientTls, ClientToken, ClusterId, Endpoint, Failure,
    MAX_ADDRESSES_PER_ENDPOINT, MAX_CONNECTIONS_PER_ENDPOINT, MAX_ENDPOINTS, MAX_KEY_BYTES, MAX_VALUE_BYTES,
    ReadMode, Resolver, Scan, ScanOptions, TraceId,
};
/// The messages of kv.v1, and of node.v1 as far as it is for who administers a cluster.
pub mod wire {
    pub use proto::kv::v1::*;
    pub use proto::node::v1 as node;
    pub use proto::node::v1::{
        AddLearnerRequest, AddLearnerResponse, ChangeMembershipRequest, ChangeMembershipResponse, Health,
        HealthRequest, HealthResponse, InitRequest, InitResponse, Member, MemberHealth, Replication,
        ReportRequest, ReportResponse, Role, SetAddressRequest, SetAddressResponse, SnapshotRequest,
        SnapshotResponse, StatusRequest, StatusResponse, TransferLeaderRequest, TransferLeaderResponse,
        VoterChange, cluster_client, cluster_server,
    };
}

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
