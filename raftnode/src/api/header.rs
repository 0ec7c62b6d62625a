//! What every answer says about this node and the leader.

use proto::node::v1 as pb;
use std::error::Error as _;

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::call::CLUSTER_ID_METADATA;
use crate::raft::{Metrics, NodeId};
use crate::standing::{Faulty, Local};

/// In the metadata of every failure: who answered. Its absence tells that no node did.
pub(crate) const NODE_ID_METADATA: &str = "node-id";
/// In the metadata of a failure that is this node's own: `damaged` or `disk-full`. Another node may
/// serve.
pub(crate) const NODE_FAULT_METADATA: &str = "node-fault";
/// In the metadata of a failure that changed nothing and never will: the proof of that.
pub(crate) const NOT_APPLIED_METADATA: &str = "node-not-applied";
const LEADER_ID_METADATA: &str = "node-leader-id";
const LEADER_ADDR_METADATA: &str = "node-leader-addr";

/// The header of an answer of this node.
pub(crate) fn header(local: &Local) -> Option<pb::ResponseHeader> {
    let (leader_id, leader_addr, term) = local.with_metrics(|metrics| {
        let leader = leader(metrics).filter(|_| local.leader_watch.is_alive());
        let (id, addr) = leader.unwrap_or_default();
        (id, addr, metrics.current_term)
    });
    Some(pb::ResponseHeader {
        cluster_id: local.cluster_id(),
        node_id: local.id,
        leader_id,
        leader_addr,
        term,
    })
}

/// The header of an answer of a node without storage.
pub(crate) fn header_of_faulty(faulty: &Faulty) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: faulty.cluster_id.clone(),
        node_id: faulty.id,
        ..pb::ResponseHeader::default()
    }
}

fn leader(metrics: &Metrics) -> Option<(NodeId, String)> {
    let id = metrics.current_leader?;
    let member = metrics.membership_config.get_node(&id)?;
    Some((id, member.client_addr.clone()))
}

/// Adds `node-id` and `node-cluster-id`, and `node-leader-id` and `node-leader-addr` if there is a
/// live leader.
pub(crate) fn add_hints(local: &Local, metadata: &mut MetadataMap) {
    if metadata.contains_key(NODE_ID_METADATA) {
        return;
    }
    metadata.insert(NODE_ID_METADATA, local.id.into());
    if let Ok(cluster_id) = local.cluster_id().parse() {
        metadata.insert(CLUSTER_ID_METADATA, cluster_id);
    }
    let Some((id, addr)) = local.with_metrics(leader).filter(|_| local.leader_watch.is_alive()) else {
        return;
    };
    metadata.insert(LEADER_ID_METADATA, id.into());
    if let Ok(addr) = addr.parse() {
        metadata.insert(LEADER_ADDR_METADATA, addr);
    }
}

/// Whether a node answered, as opposed to the transport on either side.
pub(super) fn is_answer(status: &Status) -> bool {
    status.source().is_none() && status.metadata().contains_key(NODE_ID_METADATA)
}
