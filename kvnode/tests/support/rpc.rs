//! gRPC to one chosen node, without the retries and the leader search of the `kvcli` library.

use std::time::Duration;

use proto::kv::v1::kv_client::KvClient;
use proto::node::v1::cluster_client::ClusterClient;
use tonic::transport::{Channel, Endpoint};

/// Enough for any answer.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The key-value service at `addr`; dialled at the first request, and again when the connection is
/// lost.
pub fn kv_client(addr: &str) -> KvClient<Channel> {
    KvClient::new(channel(addr)).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The cluster service at `addr`, in the same way.
pub fn admin_client(addr: &str) -> ClusterClient<Channel> {
    ClusterClient::new(channel(addr))
}

fn channel(addr: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect_lazy()
}
