//! Whether a request is meant for this node.

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openraft::RaftTypeConfig;
use proto::raft::v1::Header;
use tonic::Status;

use crate::identity::{ClusterId, Incarnation, LocalIdentity};
use crate::observer::Observer;
use crate::wire;

/// The same refusal is logged again after this.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// In the extensions of a request: the node that the connection's certificate is of, put there by a
/// listener that has verified it. A request that another sender claims to have made is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertifiedSender<I>(pub I);

/// Judges requests by their header, for the node that it belongs to.
pub(super) struct Addressee<C: RaftTypeConfig> {
    local: LocalIdentity<C::NodeId>,
    pub(super) observer: Arc<dyn Observer>,
    /// What was logged last, and when.
    logged: Mutex<Option<(String, Instant)>>,
}

/// A header, decoded.
pub(super) struct Envelope<C: RaftTypeConfig> {
    cluster_id: ClusterId,
    target: C::NodeId,
    target_incarnation: Option<Incarnation>,
    pub(super) sender: C::NodeId,
    pub(super) sender_incarnation: Option<Incarnation>,
}

impl<C: RaftTypeConfig> Addressee<C> {
    pub(super) fn new(local: LocalIdentity<C::NodeId>, observer: Arc<dyn Observer>) -> Self {
        Self { local, observer, logged: Mutex::default() }
    }

    pub(super) fn node_id(&self) -> &C::NodeId {
        self.local.node_id()
    }

    /// Refuses a request without a header, and one for another node, cluster or data directory.
    /// One whose sender is not the node that its connection's certificate is of is refused as well.
    pub(super) fn check(
        &self,
        header: Option<&Header>,
        certified: Option<&CertifiedSender<C::NodeId>>,
    ) -> Result<Envelope<C>, Status> {
        let header = header.ok_or_else(|| Status::invalid_argument("the header is missing"))?;
        let envelope = Envelope::<C>::decode(header)?;
        if let Some(CertifiedSender(certified)) = certified.filter(|known| known.0 != envelope.sender) {
            let objection = format!(
                "the request claims to be of node {}, and the certificate it came with is of node {certified}; \
                 give each node a certificate of its own",
                envelope.sender
            );
            self.log(&objection);
            return Err(Status::permission_denied(objection));
        }
        match self.objection(&envelope) {
            None => Ok(envelope),
            Some(objection) => {
                self.log(&objection);
                if envelope.target == *self.local.node_id() {
                    self.observer.claimed(envelope.cluster_id, envelope.target_incarnation);
                }
                Err(Status::failed_precondition(objection))
            }
        }
    }

    fn objection(&self, envelope: &Envelope<C>) -> Option<String> {
        let Envelope { cluster_id, target, target_incarnation, sender, .. } = envelope;
        let own = self.local.node_id();
        let Some(member) = self.local.member() else {
            return Some(format!(
                "this is node {own} and belongs to no cluster; the request of node {sender} is for \
                 node {target} of cluster {cluster_id}"
            ));
        };
        if *cluster_id != member.cluster_id || target != own {
            return Some(format!(
                "this is node {own} of cluster {}; the request of node {sender} is for node {target} of \
                 cluster {cluster_id}: one of the two clusters has this node's address in its membership",
                member.cluster_id
            ));
        }
        (*target_incarnation != member.incarnation).then(|| {
            format!(
                "this is node {own} with the data directory {}; the request of node {sender} is for \
                 node {own} with the data directory {}: one of the two was wiped, replaced or copied",
                shown(member.incarnation),
                shown(*target_incarnation)
            )
        })
    }

    /// A peer repeats a refused request several times a second.
    fn log(&self, objection: &str) {
        let Ok(mut logged) = self.logged.lock() else { return };
        let again =
            logged.as_ref().is_none_or(|(what, at)| what != objection || at.elapsed() > LOG_AGAIN_AFTER);
        if again {
            tracing::warn!("refused a peer's request: {objection}");
            *logged = Some((objection.to_owned(), Instant::now()));
        }
    }
}

fn shown(incarnation: Option<Incarnation>) -> String {
    incarnation.map_or_else(|| "without an incarnation".to_owned(), |incarnation| incarnation.to_string())
}

impl<C: RaftTypeConfig> Envelope<C> {
    fn decode(header: &Header) -> Result<Self, Status> {
        let Header { cluster_id, target, target_incarnation, sender, sender_incarnation } = header;
        let cluster_id = ClusterId::from_bytes(cluster_id)
            .ok_or_else(|| invalid("cluster_id", &format_args!("{} bytes, not 16", cluster_id.len())))?;
        Ok(Self {
            cluster_id,
            target: wire::decode(target).map_err(|e| invalid("target", &e))?,
            target_incarnation: incarnation("target_incarnation", target_incarnation)?,
            sender: wire::decode(sender).map_err(|e| invalid("sender", &e))?,
            sender_incarnation: incarnation("sender_incarnation", sender_incarnation)?,
        })
    }
}

fn incarnation(field: &str, bytes: &[u8]) -> Result<Option<Incarnation>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let wrong = || invalid(field, &format_args!("{} bytes, not 16", bytes.len()));
    Incarnation::from_bytes(bytes).map(Some).ok_or_else(wrong)
}

fn invalid(field: &str, reason: &dyn Display) -> Status {
    Status::invalid_argument(format!("header.{field}: {reason}"))
}
