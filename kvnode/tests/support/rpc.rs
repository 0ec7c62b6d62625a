//! gRPC to one chosen node, without the retries and the leader search of the `kvcli` library.

use std::time::Duration;

use proto::kv::v1::kv_client::KvClient;
use proto::node::v1::cluster_client::ClusterClient;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// Enough for any answer.
const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The key-value service at `addr`; dialled at the first request, and again when the connection is
/// lost.
pub fn kv_client(addr: &str) -> KvClient<Channel> {
    kv_over(channel(addr, None))
}

/// The same over this channel.
pub fn kv_over(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// The cluster service at `addr`, in the same way.
pub fn admin_client(addr: &str) -> ClusterClient<Channel> {
    ClusterClient::new(channel(addr, None))
}

/// To `addr`, with TLS if it is given.
pub fn channel(addr: &str, tls: Option<&ClientTlsConfig>) -> Channel {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{addr}")).expect("an address");
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls.clone()).expect("good certificates");
    }
    endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect_lazy()
}
