//! What a caller may choose about a [`Client`](super::Client).

use std::time::Duration;

/// Time for one operation, retries included, unless another is chosen.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time for one operation from call to answer, all attempts and waits included. Default: 5 s.
    pub timeout: Duration,
    /// Kept connections to each endpoint; sessions are spread over them. One connection carries many
    /// requests at once, so that one is enough for a few dozen sessions. Default: 1; clamped to
    /// 1..=[`MAX_CONNECTIONS_PER_ENDPOINT`](super::MAX_CONNECTIONS_PER_ENDPOINT).
    pub connections_per_endpoint: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { timeout: DEFAULT_TIMEOUT, connections_per_endpoint: 1 }
    }
}
