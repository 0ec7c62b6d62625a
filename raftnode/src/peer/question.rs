//! Questions to another node, each over a connection of its own: they are rare.

use std::time::Duration;

use network_grpc::{ClusterId, Incarnation, MemberIdentity};
use proto::node::v1 as pb;
use proto::node::v1::peer_client::PeerClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::application::{Checkpoint, Digest, MAX_CHECKPOINTS};
use crate::raft::NodeId;
use crate::tls::Dialler;

/// How long another node may take to answer, the connection included.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// Its id.
    pub node_id: NodeId,
    /// The cluster it belongs to, and which data directory it is.
    pub member: Option<MemberIdentity>,
    /// It stores something of the cluster.
    pub initialized: bool,
    /// Whether its membership has the node that asks; and then with which data directory, if that
    /// is known.
    pub asker: Option<Option<Incarnation>>,
    /// Log index of that membership; 0: there is none.
    pub membership_index: u64,
    /// Of its program.
    pub schema: u32,
    /// What its application calls itself.
    pub application: String,
}

/// What another node has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    /// Which data directory it is.
    pub(crate) incarnation: Option<Incarnation>,
    /// In ascending order.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

/// Another node did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum AskError {
    /// No answer.
    #[error("no answer at {address}: {reason}")]
    Silent {
        /// `host:port`.
        address: String,
        /// Why.
        reason: String,
    },
    /// It will not.
    #[error("{0}")]
    Refused(String),
}

/// Asks the node at `address` who it is.
///
/// # Errors
/// It does not answer, or not as a node does.
pub(crate) async fn describe(
    dialler: &Dialler,
    address: &str,
    asker: NodeId,
) -> Result<Description, AskError> {
    let request = pb::DescribeRequest { asker };
    let answer = ask((dialler, None, address), async |mut peer| peer.describe(timed(request)).await).await?;
    Description::try_from(answer).map_err(|reason| AskError::Silent { address: address.to_owned(), reason })
}

/// Asks the node `target` at `address` to promise that it joins no other cluster for now.
///
/// # Errors
/// It does not answer, or refuses.
pub(crate) async fn reserve(
    dialler: &Dialler,
    address: &str,
    target: NodeId,
    cluster_id: ClusterId,
) -> Result<(), AskError> {
    let request = pb::ReserveRequest { cluster_id: cluster_id.to_bytes(), target };
    ask((dialler, Some(target), address), async |mut peer| peer.reserve(timed(request)).await).await.map(drop)
}

/// Makes the node `target` at `address` a member.
///
/// # Errors
/// It does not answer, or refuses.
pub(crate) async fn adopt(
    dialler: &Dialler,
    address: &str,
    target: NodeId,
    cluster_id: ClusterId,
    incarnation: Incarnation,
) -> Result<(), AskError> {
    let (cluster_id, incarnation) = (cluster_id.to_bytes(), incarnation.to_bytes());
    let request = pb::AdoptRequest { cluster_id, target, incarnation };
    ask((dialler, Some(target), address), async |mut peer| peer.adopt(timed(request)).await).await.map(drop)
}

/// Asks the node `target` at `address` what it has applied.
///
/// # Errors
/// It does not answer, refuses, or does not answer as a node does.
pub(crate) async fn digests(
    dialler: &Dialler,
    address: &str,
    target: NodeId,
    cluster_id: ClusterId,
) -> Result<Digests, AskError> {
    let request = pb::DigestsRequest { cluster_id: cluster_id.to_bytes(), target };
    let asked = ask((dialler, Some(target), address), async |mut peer| peer.digests(timed(request)).await);
    Digests::try_from(asked.await?).map_err(|reason| AskError::Silent { address: address.to_owned(), reason })
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ASK_TIMEOUT);
    request
}

async fn ask<T>(
    (dialler, target, address): (&Dialler, Option<NodeId>, &str),
    question: impl AsyncFnOnce(PeerClient<Channel>) -> Result<tonic::Response<T>, Status>,
) -> Result<T, AskError> {
    let silent = |reason: String| AskError::Silent { address: address.to_owned(), reason };
    let asking = async {
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|e| silent(e.to_string()))?;
        let endpoint = endpoint.connect_timeout(ASK_TIMEOUT).tcp_nodelay(true);
        let channel = dialler.connect(&endpoint, target, address).await;
        let channel = channel.map_err(|e| silent(innermost(&e)))?;
        question(PeerClient::new(channel)).await.map_err(|status| match status.code() {
            Code::FailedPrecondition => AskError::Refused(status.message().to_owned()),
            Code::Unimplemented => silent("this is not a port for peers".to_owned()),
            _ => silent(status.message().to_owned()),
        })
    };
    match tokio::time::timeout(ASK_TIMEOUT, asking).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(silent(format!("nothing within {ASK_TIMEOUT:?}"))),
    }
}

pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

impl TryFrom<pb::DescribeResponse> for Description {
    type Error = String;

    fn try_from(answer: pb::DescribeResponse) -> Result<Self, String> {
        let incarnation = incarnation(&answer.incarnation)?;
        let member = match &answer.cluster_id[..] {
            [] => None,
            bytes => Some(MemberIdentity {
                cluster_id: ClusterId::from_bytes(bytes).ok_or("its cluster id has not 16 bytes")?,
                incarnation,
            }),
        };
        let asker = match answer.knows_asker {
            true => Some(self::incarnation(&answer.asker_incarnation)?),
            false => None,
        };
        Ok(Self {
            node_id: answer.node_id,
            member,
            initialized: answer.initialized,
            asker,
            membership_index: answer.membership_index,
            schema: answer.schema,
            application: answer.application,
        })
    }
}

impl TryFrom<pb::DigestsResponse> for Digests {
    type Error = String;

    fn try_from(answer: pb::DigestsResponse) -> Result<Self, String> {
        let count = answer.checkpoints.len();
        if count > MAX_CHECKPOINTS || !answer.checkpoints.is_sorted_by(|one, next| one.index < next.index) {
            return Err(format!("its {count} digests are too many, or not in order"));
        }
        let checkpoint =
            |it: pb::Checkpoint| Checkpoint { index: it.index, digest: Digest::from_bits(it.digest) };
        let checkpoints = answer.checkpoints.into_iter().map(checkpoint).collect();
        Ok(Self { incarnation: incarnation(&answer.incarnation)?, checkpoints })
    }
}

fn incarnation(bytes: &[u8]) -> Result<Option<Incarnation>, String> {
    match bytes {
        [] => Ok(None),
        bytes => Incarnation::from_bytes(bytes)
            .map(Some)
            .ok_or_else(|| "an incarnation has not 16 bytes".to_owned()),
    }
}
