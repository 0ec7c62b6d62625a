//! Which cluster nodes belong to.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proto::node::v1::InitRequest;

use super::{Cluster, Kvcli, Node, wait};

/// A node that is made a member belongs to its cluster within this.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(15);

/// The cluster that the node's directory says it belongs to.
pub fn cluster_in(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join("IDENTITY")).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("cluster_id = \"")?.strip_suffix('"'));
    id.filter(|id| !id.is_empty()).map(str::to_owned)
}

pub fn cluster_of(node: &Node) -> Option<String> {
    cluster_in(&node.serve.data_dir)
}

pub async fn adopted(node: &Node) -> String {
    wait::until(&format!("node {} belongs to a cluster", node.id()), NOTICE_TIMEOUT, async || {
        cluster_of(node).ok_or_else(|| "to none".to_owned())
    })
    .await
}

/// All nodes belong to one cluster that works, and it is there already for one who initialises
/// again.
pub async fn is_one_cluster(cluster: &Cluster) {
    Kvcli::new(&cluster.endpoints()).all_is_well().await;
    let ids: BTreeSet<_> = cluster.nodes.iter().map(|node| cluster_of(node).unwrap()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    for node in &cluster.nodes {
        let again = node.admin().init(InitRequest {}).await.unwrap().into_inner();
        assert!(again.already_initialized, "{again:?}");
        assert!(ids.contains(&again.header.unwrap().cluster_id));
    }
    assert_eq!(cluster.same_state().await.get(b"key").unwrap().value, "value");
}
