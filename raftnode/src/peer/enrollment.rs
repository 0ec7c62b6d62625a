//! How this node comes to belong to a cluster, once and for ever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use network_grpc::{ClusterId, LocalIdentity, MemberIdentity};

use crate::data_dir::{DataDir, DataDirError};
use crate::raft::NodeId;

/// How long a node keeps its promise to join no other cluster than the one that is being founded.
pub(crate) const RESERVATION: Duration = Duration::from_secs(10);

/// This node's identity, in memory and on disk.
///
/// Invariant: `identity` says nothing that is not durable in `data_dir`.
pub(crate) struct Enrollment {
    data_dir: Arc<DataDir>,
    identity: LocalIdentity<NodeId>,
    promised: Mutex<Option<(ClusterId, Instant)>>,
}

/// This node does not join.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollmentError {
    /// It belongs to another cluster, or is another data directory of this one.
    #[error(
        "node {node} belongs to cluster {} already, and a node never changes its cluster; give it a new id and an empty data directory",
        has.cluster_id
    )]
    Member {
        /// This node.
        node: NodeId,
        /// What it is.
        has: MemberIdentity,
    },
    /// Another founder was quicker.
    #[error("node {node} is being made a member of cluster {cluster} just now; try again in {} s", RESERVATION.as_secs())]
    Promised {
        /// This node.
        node: NodeId,
        /// Which cluster it has promised itself to.
        cluster: ClusterId,
    },
    /// It could not be stored.
    #[error(transparent)]
    Disk(#[from] DataDirError),
}

impl Enrollment {
    /// Of the node whose data directory this is.
    #[must_use]
    pub(crate) fn new(data_dir: Arc<DataDir>) -> Self {
        let stored = data_dir.identity();
        let identity = match stored.member {
            Some(member) => LocalIdentity::member_of(stored.node_id, member),
            None => LocalIdentity::without_cluster(stored.node_id),
        };
        Self { data_dir, identity, promised: Mutex::default() }
    }

    /// Who this node is, now and later.
    #[must_use]
    pub(crate) fn identity(&self) -> &LocalIdentity<NodeId> {
        &self.identity
    }

    /// This node's directory must not be used again: see [`DataDir::mark_outdated`]. Blocks for the
    /// disk.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn mark_outdated(&self) -> Result<(), DataDirError> {
        self.data_dir.mark_outdated()
    }

    /// Promises to join no other cluster for [`RESERVATION`].
    ///
    /// # Errors
    /// It belongs to another cluster, or has promised itself.
    pub(crate) fn reserve(&self, cluster: ClusterId) -> Result<(), EnrollmentError> {
        let node = *self.identity.node_id();
        let mut promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = self.identity.member().filter(|has| has.cluster_id != cluster) {
            return Err(EnrollmentError::Member { node, has });
        }
        match *promised {
            Some((other, at)) if other != cluster && at.elapsed() < RESERVATION => {
                Err(EnrollmentError::Promised { node, cluster: other })
            }
            _ => {
                *promised = Some((cluster, Instant::now()));
                Ok(())
            }
        }
    }

    /// Belongs to this cluster from now on: durable when it returns. Blocks for the disk.
    ///
    /// # Errors
    /// It belongs to another cluster, has promised itself to one, or the disk fails.
    pub(crate) fn adopt(&self, member: MemberIdentity) -> Result<(), EnrollmentError> {
        let node = *self.identity.node_id();
        // Held while the disk works, so that two cannot adopt this node at once.
        let promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = self.identity.member() {
            return if has == member { Ok(()) } else { Err(EnrollmentError::Member { node, has }) };
        }
        if let Some((cluster, at)) = *promised
            && cluster != member.cluster_id
            && at.elapsed() < RESERVATION
        {
            return Err(EnrollmentError::Promised { node, cluster });
        }
        self.data_dir.join(member)?;
        self.identity.join(member).map_err(|has| EnrollmentError::Member { node, has })?;
        tracing::info!(
            cluster = %member.cluster_id,
            incarnation = member.incarnation.map(tracing::field::display),
            "node {node} belongs to the cluster from now on"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use network_grpc::Incarnation;

    use super::*;
    use crate::data_dir::Claim;

    fn enrollment(dir: &std::path::Path) -> Enrollment {
        let claim = Claim { node_id: 1, peers: None, accept_moved: false };
        Enrollment::new(Arc::new(DataDir::open(dir, &claim).unwrap()))
    }

    fn member(cluster: u128) -> MemberIdentity {
        let cluster_id = ClusterId::from_bits(cluster);
        MemberIdentity { cluster_id, incarnation: Some(Incarnation::from_bits(9)) }
    }

    #[test]
    fn a_node_joins_once_and_still_knows_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let node = enrollment(dir.path());
        let identity = node.identity().clone();
        assert_eq!(identity.member(), None);
        node.adopt(member(1)).unwrap();
        node.adopt(member(1)).unwrap();
        let error = node.adopt(member(2)).unwrap_err();
        assert!(matches!(error, EnrollmentError::Member { .. }), "{error}");
        let error = node.reserve(ClusterId::from_bits(2)).unwrap_err();
        assert!(matches!(error, EnrollmentError::Member { .. }), "{error}");
        assert_eq!(identity.member(), Some(member(1)), "a clone that was there before");
        drop(node);
        assert_eq!(enrollment(dir.path()).identity().member(), Some(member(1)));
    }

    /// Two founders at once: the node belongs to the one that asked first, or to none.
    #[test]
    fn a_promise_keeps_other_clusters_away() {
        let dir = tempfile::tempdir().unwrap();
        let node = enrollment(dir.path());
        node.reserve(ClusterId::from_bits(1)).unwrap();
        node.reserve(ClusterId::from_bits(1)).unwrap();
        for error in [node.reserve(ClusterId::from_bits(2)).unwrap_err(), node.adopt(member(2)).unwrap_err()]
        {
            assert!(matches!(error, EnrollmentError::Promised { .. }), "{error}");
        }
        node.adopt(member(1)).unwrap();
    }
}
