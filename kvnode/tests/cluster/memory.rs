//! Attacks the memory that a node takes while it has nothing to do: a dependency computed tables of 26 MiB that nobody reads, and
//! another version of it would do so again unnoticed (`patches/base2histogram`). What a node with data takes is measured by the
//! storage's benchmark `memory`.

use crate::support::{Cluster, ClusterOptions, Series, alone};

const MAX_IDLE_BYTES: f64 = 30.0 * 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_idle_node_takes_less_than_30_mib() {
    let _alone = alone();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    for node in &cluster.nodes {
        let (_, metrics) = node.http("/metrics").await.unwrap();
        let resident = Series::parse(&metrics).sum("process_resident_memory_bytes", &[]);
        println!("node {}: {:.1} MiB", node.id(), resident / 1024.0 / 1024.0);
        assert!(resident > 0.0 && resident < MAX_IDLE_BYTES, "node {}: {resident} bytes", node.id());
    }
}
