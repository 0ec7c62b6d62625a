//! A tiny openraft application in memory, nodes that can be killed, and bare clients and servers.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code; every test file uses a part of it"
)]

pub mod app;
pub mod log_store;
pub mod node;
pub mod scripted;
pub mod state_machine;

use std::future::Future;
use std::io::Cursor;
use std::time::{Duration, Instant};

use network_grpc::{ClusterId, GrpcNetwork, LocalIdentity, MemberIdentity, NetworkOptions, PeerClient};
use openraft::{BasicNode, RaftNetworkFactory};

pub use app::{Blob, TypeConfig, entry, leader, log_id};

pub type Network = GrpcNetwork<TypeConfig, Cursor<Vec<u8>>>;
pub type Client = PeerClient<TypeConfig, Cursor<Vec<u8>>>;

pub const CLUSTER: ClusterId = ClusterId::from_bits(7);

/// Node `id` of the test cluster. Its members have no incarnations.
pub fn identity(id: u64) -> LocalIdentity<u64> {
    LocalIdentity::member_of(id, MemberIdentity { cluster_id: CLUSTER, incarnation: None })
}

/// Polls until `condition` holds; fails the test after 20 s.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < Duration::from_secs(20), "still waiting for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Deadlines short enough for tests.
pub fn options() -> NetworkOptions {
    let mut options = NetworkOptions::default();
    options.append_progress_timeout = Duration::from_millis(500);
    options.snapshot_chunk_timeout = Duration::from_secs(1);
    options.snapshot_install_timeout = Duration::from_secs(2);
    options.keepalive_interval = Duration::from_millis(500);
    options.keepalive_timeout = Duration::from_secs(1);
    options
}

/// A replication client for node 2 at `address`.
pub async fn client(address: &str) -> Client {
    network(1).new_client(2, &BasicNode::new(address)).await
}

/// The network of node `id`.
pub fn network(id: u64) -> Network {
    GrpcNetwork::new(identity(id), options())
}

/// The default deadline openraft would pass.
pub fn ttl(millis: u64) -> openraft::network::RPCOption {
    openraft::network::RPCOption::new(Duration::from_millis(millis))
}
