//! Who this node is, and whether a request is meant for it.

use std::sync::Arc;

use openraft::RaftTypeConfig;
use proto::raft::v1::Header;
use tonic::Status;

use crate::options::MAX_ECHOED_BYTES;
use crate::wire;

/// This node of this cluster.
pub(super) struct Identity<C: RaftTypeConfig> {
    pub(super) cluster_id: Arc<str>,
    pub(super) node_id: C::NodeId,
}

impl<C: RaftTypeConfig> Identity<C> {
    /// Refuses a request without a header, and one for somebody else.
    pub(super) fn check(&self, header: Option<&Header>) -> Result<(), Status> {
        let header = header.ok_or_else(|| Status::invalid_argument("the header is missing"))?;
        let target: C::NodeId = wire::decode(&header.target)
            .map_err(|e| Status::invalid_argument(format!("header.target: {e}")))?;
        if header.cluster_id == *self.cluster_id && target == self.node_id {
            return Ok(());
        }
        let theirs: String = header.cluster_id.chars().take(MAX_ECHOED_BYTES).collect();
        Err(Status::failed_precondition(format!(
            "this is node {} of cluster `{}`; the request is for node {target} of cluster `{theirs}`; \
             check the addresses in the membership",
            self.node_id, self.cluster_id,
        )))
    }
}
