//! A cluster that has done something of everything, and the metrics of its nodes.

use proto::kv::v1::PutRequest;
use proto::node::v1::SnapshotRequest;

use super::{Certificates, Cluster, ClusterOptions, Node};

/// Something to show in every series.
pub async fn busy_cluster() -> Cluster {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    // Between nodes, so that there are certificates to show.
    let certificates = Certificates::of_cluster(&cluster.path().join("certificates"), 3);
    cluster.nodes.iter_mut().for_each(|node| node.serve.flags = certificates.peer_flags(node.id()));
    cluster.start_all();
    cluster.all_up().await;
    cluster.client().init().await.unwrap();
    let leader = cluster.leader().await;
    put(cluster.node(leader)).await;
    cluster.node(leader).admin().snapshot(SnapshotRequest {}).await.unwrap();
    cluster.settled().await;
    cluster
}

pub async fn put(node: &Node) {
    let request = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
    node.kv().put(request).await.unwrap();
}

pub async fn metrics(node: &Node) -> String {
    let (code, text) = node.http("/metrics").await.unwrap();
    assert_eq!(code, 200);
    text
}
