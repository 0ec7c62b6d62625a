//! The sending side: what openraft calls to reach a peer.

mod answer;
mod append_stream;
mod body;
mod factory;
mod link;
mod network_v2;
mod snapshot;
mod unary;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use proto::raft::v1::Header;

#[cfg(feature = "testing")]
pub(crate) use self::answer::{Answer, Sent};
pub use self::factory::GrpcNetwork;
use crate::connection::{Connection, Lane};
use crate::error::PeerError;
use crate::observer::Rpc;
use crate::options::NetworkOptions;
use crate::wire;

/// Sends one lane of RPCs to one peer. Made by [`GrpcNetwork`], driven by openraft.
pub struct PeerClient<C: RaftTypeConfig, SD> {
    peer: Arc<Peer>,
    lane: Lane,
    _types: PhantomData<fn() -> (C, SD)>,
}

/// Whom a client talks to, and over what. Shared with the streams it opens.
struct Peer {
    /// The target's node id, for labels.
    label: String,
    cluster_id: Arc<str>,
    /// The encoded target, or why it cannot be encoded.
    target: Result<Bytes, String>,
    connection: Arc<Connection>,
    options: Arc<NetworkOptions>,
}

impl<C: RaftTypeConfig, SD> PeerClient<C, SD> {
    fn new(
        target: &C::NodeId,
        cluster_id: Arc<str>,
        connection: Arc<Connection>,
        lane: Lane,
        options: Arc<NetworkOptions>,
    ) -> Self {
        let peer = Peer {
            label: target.to_string(),
            cluster_id,
            target: wire::encode(target).map_err(|e| e.to_string()),
            connection,
            options,
        };
        Self { peer: Arc::new(peer), lane, _types: PhantomData }
    }
}

impl Peer {
    fn header(&self) -> Result<Header, PeerError> {
        match &self.target {
            Ok(target) => Ok(Header { cluster_id: self.cluster_id.to_string(), target: target.clone() }),
            Err(reason) => Err(self.connection.bad_answer(format!("node id: {reason}"))),
        }
    }

    /// Measures and logs the end of an RPC.
    fn finished(&self, rpc: Rpc, started: Instant, error: Option<&PeerError>) {
        self.options.observer.rpc(rpc, &self.label, started.elapsed(), error.is_none());
        self.connection.note(error);
    }
}
