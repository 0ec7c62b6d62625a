//! Why an RPC to a peer failed, and what openraft should make of it.

use std::error::Error as _;
use std::time::Duration;

use openraft::RaftTypeConfig;
use openraft::errors::{NetworkError, RPCError, StreamingError, Unreachable};
use tonic::{Code, Status};

/// An RPC to a peer failed.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// This node belongs to no cluster, so it has nothing to say to peers.
    #[error("this node belongs to no cluster yet")]
    WithoutCluster,
    /// The membership holds an address that cannot be dialled.
    #[error("peer address `{address}` is not host:port; correct it in the membership")]
    BadAddress {
        /// What the membership says.
        address: String,
        /// Why it is refused.
        source: Box<tonic::transport::Error>,
    },
    /// No process listens there, or the network refused.
    #[error("cannot connect to {address}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the transport said.
        source: Box<tonic::transport::Error>,
    },
    /// The last dial failed a moment ago and the next is not due yet.
    #[error("not dialling {address} for another {retry_in:?}: {failures} dials in a row failed")]
    BackingOff {
        /// `host:port`.
        address: String,
        /// Until the next dial.
        retry_in: Duration,
        /// Failed dials in a row.
        failures: u32,
    },
    /// The peer did not do its part in time.
    #[error("{address}: no {awaited} within {after:?}")]
    TimedOut {
        /// `host:port`.
        address: String,
        /// What was waited for.
        awaited: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The peer answered with an error: wrong cluster or node, malformed request, overload,
    /// stopped.
    #[error("{address} refused: {:?}: {}", status.code(), status.message())]
    Refused {
        /// `host:port`.
        address: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The connection broke under the call.
    #[error("connection to {address} broke")]
    Broken {
        /// `host:port`.
        address: String,
        /// What the transport said.
        source: Box<Status>,
    },
    /// The peer ended a stream that still had requests to answer.
    #[error("{address} closed the stream with {unanswered} requests unanswered")]
    Closed {
        /// `host:port`.
        address: String,
        /// Messages in flight.
        unanswered: usize,
    },
    /// The peer's answer makes no sense.
    #[error("{address} sent a bad answer: {reason}")]
    BadAnswer {
        /// `host:port`.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry is larger than any peer accepts.
    #[error(
        "log entry {index} is {bytes} bytes encoded, more than {limit} can be sent: \
         refuse such commands before they are proposed"
    )]
    EntryTooLarge {
        /// Log index.
        index: u64,
        /// Encoded length.
        bytes: usize,
        /// [`MAX_ENTRY_BYTES`](crate::MAX_ENTRY_BYTES).
        limit: usize,
    },
    /// A value of this node could not be encoded.
    #[error("cannot encode a request")]
    Encode(#[from] codec::EncodeError),
}

impl PeerError {
    /// Sorts a failed call: an answer of the peer, or a failure of the transport.
    pub(crate) fn from_status(address: &str, status: Status) -> Self {
        let address = address.to_owned();
        let from_transport = status.source().is_some();
        if from_transport && status.code() != Code::Unavailable {
            Self::Broken { address, source: Box::new(status) }
        } else {
            Self::Refused { address, status: Box::new(status) }
        }
    }

    /// Whether the connection is suspect and should be replaced.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::Closed { .. } => true,
            Self::Refused { status, .. } => status.source().is_some(),
            _ => false,
        }
    }

    /// Whether a node answered that is not the one that was meant, or not any more.
    pub(crate) fn is_of_a_stranger(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::FailedPrecondition)
    }

    /// Whether retrying at once may help. Everything else wants a pause.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Closed { .. })
    }

    pub(crate) fn into_rpc<C: RaftTypeConfig>(self) -> RPCError<C> {
        if self.is_transient() {
            RPCError::Network(NetworkError::new(&self))
        } else {
            RPCError::Unreachable(Unreachable::new(&self))
        }
    }

    pub(crate) fn into_streaming<C: RaftTypeConfig>(self) -> StreamingError<C> {
        StreamingError::from(self.into_rpc())
    }
}
