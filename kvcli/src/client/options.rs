//! What a caller may choose about a [`Client`](super::Client).

use std::time::Duration;

use super::{ClientTls, ClientToken, ClusterId, Resolver};

/// Time for one operation, retries included, unless another is chosen.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time for one operation from call to answer, all attempts and waits included. Default: 5 s.
    pub timeout: Duration,
    /// Kept connections to each endpoint; operations are spread over them. One carries many at
    /// once and is enough for most programs. Default: 1; clamped
    /// to 1..=[`MAX_CONNECTIONS_PER_ENDPOINT`](super::MAX_CONNECTIONS_PER_ENDPOINT).
    pub connections_per_endpoint: usize,
    /// The cluster to talk to. Nodes of another one are never asked for anything. Default: the
    /// cluster of the endpoints, which must all belong to one.
    pub cluster_id: Option<ClusterId>,
    /// Finds the addresses behind the names of endpoints. Default: as the operating system does.
    pub resolver: Resolver,
    /// How connections are encrypted. Default: they are not.
    pub tls: Option<ClientTls>,
    /// Who this client is, for nodes that ask and know it by a token. Default: it says nothing, or
    /// proves it by the certificate in `tls`.
    pub token: Option<ClientToken>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            connections_per_endpoint: 1,
            cluster_id: None,
            resolver: Resolver::system(),
            tls: None,
            token: None,
        }
    }
}
