//! Every bound and deadline of this crate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::observer::{Observer, Silent};

const MIB: usize = 1024 * 1024;

/// Encoded entries that one append message carries at most, unless a single entry is larger.
pub const MAX_BATCH_BYTES: usize = MIB;
/// The largest encoded entry that can be sent: what `codec` will decode at the other end.
pub const MAX_ENTRY_BYTES: usize = codec::MAX_DECODED_BYTES;
/// The largest gRPC message either side sends or accepts: one entry and what goes around it.
pub const MAX_MESSAGE_BYTES: usize = MAX_ENTRY_BYTES + MIB;
/// Append messages of one stream that wait for an answer at most (openraft's receiver queues 64).
pub const MAX_INFLIGHT_MESSAGES: usize = 64;
/// No further append message is sent while this many bytes of entries wait for an answer. Less than
/// [`STREAM_WINDOW_BYTES`], so that an abandoned stream does not stay stuck in flow control.
pub const MAX_INFLIGHT_BYTES: usize = 4 * MIB;
/// Entries of one incoming stream that are decoded and not answered yet, in bytes, at most.
pub const MAX_INBOUND_STREAM_BYTES: usize = 32 * MIB;
/// Snapshot bytes per message.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Snapshot chunks read ahead of the connection at most.
pub const SNAPSHOT_CHUNKS_QUEUED: usize = 4;
/// HTTP/2 flow-control window of one stream.
pub const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// HTTP/2 flow-control window of one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Streams that one peer may have open on one connection.
pub const MAX_CONCURRENT_STREAMS: u32 = 64;
/// Append streams per connection that are open or still draining after they were abandoned.
pub(crate) const MAX_APPEND_STREAMS: usize = 8;
/// The slowest link on which a large message is still given time: it gets one second more per this
/// many bytes.
pub(crate) const MIN_BYTES_PER_SECOND: usize = MIB;
/// Connections kept for reuse; idle ones beyond are closed.
pub(crate) const MAX_POOLED_CONNECTIONS: usize = 64;
/// First pause that openraft makes before it retries an unreachable peer; doubles.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause that openraft makes before it retries an unreachable peer.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Deadlines and measurements. `Default` suits a local network.
#[derive(Clone)]
#[non_exhaustive]
pub struct NetworkOptions {
    /// Name lookup, TCP and HTTP/2 together. Default 1 s.
    pub connect_timeout: Duration,
    /// Longest silence on an append stream while something waits for an answer (a large message
    /// gets more). Default 3 s: not the heartbeat interval, a slow disk must not break the stream.
    pub append_progress_timeout: Duration,
    /// Longest time for one snapshot chunk to be read and sent, or to arrive. Default 10 s.
    pub snapshot_chunk_timeout: Duration,
    /// From the last chunk to the installed snapshot. Default 60 s.
    pub snapshot_install_timeout: Duration,
    /// HTTP/2 ping interval, idle connections too. Default 2 s.
    pub keepalive_interval: Duration,
    /// A connection whose ping is unanswered for this long is closed. Default 3 s.
    pub keepalive_timeout: Duration,
    /// Pause after the first failed dial; doubles, with jitter. Default 50 ms.
    pub redial_min: Duration,
    /// Longest pause between dials. Default 500 ms: a restarted follower wants heartbeats soon.
    pub redial_max: Duration,
    /// Receives measurements. Default: they are dropped.
    pub observer: Arc<dyn Observer>,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            append_progress_timeout: Duration::from_secs(3),
            snapshot_chunk_timeout: Duration::from_secs(10),
            snapshot_install_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(3),
            redial_min: Duration::from_millis(50),
            redial_max: Duration::from_millis(500),
            observer: Arc::new(Silent),
        }
    }
}

impl fmt::Debug for NetworkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("append_progress_timeout", &self.append_progress_timeout)
            .field("snapshot_chunk_timeout", &self.snapshot_chunk_timeout)
            .field("snapshot_install_timeout", &self.snapshot_install_timeout)
            .finish_non_exhaustive()
    }
}
