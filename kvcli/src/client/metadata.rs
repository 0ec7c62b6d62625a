//! Names of the metadata beside requests and answers, as node/v1/cluster.proto documents them.

use tonic::Status;

/// In requests, the cluster that is meant; in failures, that of the node which answered.
pub(super) const CLUSTER_ID: &str = "node-cluster-id";
/// In failures: the request has changed nothing and never will.
pub(super) const NOT_APPLIED: &str = "node-not-applied";
/// In failures: the leader's client address.
pub(super) const LEADER_ADDR: &str = "node-leader-addr";
/// In failures: the node's storage has failed. A full disk is RESOURCE_EXHAUSTED, as is a busy
/// node.
pub(super) const NODE_FAULT: &str = "node-fault";

/// The text under `name` in a failure; none if it is absent, empty or not text.
pub(super) fn text<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    let text = status.metadata().get(name)?.to_str().ok()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_protocol_documents_every_name() {
        let protocol = include_str!("../../../proto/proto/node/v1/cluster.proto");
        for name in [super::CLUSTER_ID, super::NOT_APPLIED, super::LEADER_ADDR, super::NODE_FAULT] {
            assert!(protocol.contains(name), "{name}");
        }
    }
}
