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
use codec::EncodeError;
use openraft::RaftTypeConfig;
use proto::raft::v1::Header;
use serde::Serialize;

#[cfg(feature = "testing")]
pub(crate) use self::answer::{Answer, Sent};
pub use self::factory::{GrpcNetwork, PeerPlaces};
use crate::connection::{Connection, Lane};
use crate::error::PeerError;
use crate::identity::{Incarnation, LocalIdentity, MemberIdentity};
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
    sender: Arc<dyn Sender>,
    /// The encoded target, or why it cannot be encoded.
    target: Result<Bytes, String>,
    connection: Arc<Connection>,
    options: Arc<NetworkOptions>,
}

/// This node, whatever the type of its id.
trait Sender: Send + Sync {
    /// What makes it a member, and its encoded id; `None`: it belongs to no cluster.
    fn member(&self) -> Option<(MemberIdentity, Result<Bytes, EncodeError>)>;
}

impl<I: Serialize + Send + Sync> Sender for LocalIdentity<I> {
    fn member(&self) -> Option<(MemberIdentity, Result<Bytes, EncodeError>)> {
        self.member().map(|member| (member, wire::encode(self.node_id())))
    }
}

impl<C: RaftTypeConfig, SD> PeerClient<C, SD> {
    fn new(
        target: &C::NodeId,
        identity: &LocalIdentity<C::NodeId>,
        connection: Arc<Connection>,
        lane: Lane,
        options: Arc<NetworkOptions>,
    ) -> Self {
        let peer = Peer {
            label: target.to_string(),
            sender: Arc::new(identity.clone()),
            target: wire::encode(target).map_err(|e| e.to_string()),
            connection,
            options,
        };
        Self { peer: Arc::new(peer), lane, _types: PhantomData }
    }
}

impl Peer {
    /// For whom a request is, and from whom, as of now.
    fn header(&self) -> Result<Header, PeerError> {
        let unencodable =
            |reason: &dyn std::fmt::Display| self.connection.bad_answer(format!("node id: {reason}"));
        let (member, sender) = self.sender.member().ok_or(PeerError::WithoutCluster)?;
        let bytes = |incarnation: Option<Incarnation>| incarnation.map(Incarnation::to_bytes);
        Ok(Header {
            cluster_id: member.cluster_id.to_bytes(),
            target: self.target.clone().map_err(|reason| unencodable(&reason))?,
            target_incarnation: bytes(self.connection.place().incarnation).unwrap_or_default(),
            sender: sender.map_err(|reason| unencodable(&reason))?,
            sender_incarnation: bytes(member.incarnation).unwrap_or_default(),
        })
    }

    /// Measures and logs the end of an RPC.
    fn finished(&self, rpc: Rpc, started: Instant, error: Option<&PeerError>) {
        self.options.observer.rpc(rpc, &self.label, started.elapsed(), error.is_none());
        self.connection.note(error);
    }
}
