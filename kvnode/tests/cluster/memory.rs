//! Attacks the memory that a node takes while it has nothing to do: a dependency computed tables of
//! 26 MiB that nothing reads, and another version of it would do so again unnoticed
//! (`kvnode/patches/base2histogram`). What a node with data takes is measured by the storage's
//! benchmark `memory`.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Series, alone, wait};

const MAX_IDLE_BYTES: f64 = 30.0 * 1024.0 * 1024.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the machine for itself: .ci/run"]
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

/// Applied changes go to disk when the memtable is full: one of 1 MiB is after 2 MiB of values, and
/// the default one is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the machine for itself: .ci/run"]
async fn the_flag_for_the_memtable_says_when_changes_go_to_disk() {
    let _alone = alone();
    let written =
        |metrics: &str| Series::parse(metrics).sum("storage_written_bytes_total", &["db=\"state\""]);
    for (flags, is_flushed) in [(vec!["--memtable-mib=1".to_owned()], true), (Vec::new(), false)] {
        let options = ClusterOptions { nodes: 1, flags, ..ClusterOptions::default() };
        let cluster = Cluster::start(options).await;
        let node = &cluster.nodes[0];
        let before = written(&node.http("/metrics").await.unwrap().1);
        let client = cluster.client();
        for number in 0..32 {
            client.put(format!("k{number}"), vec![b'v'; 64 << 10]).await.unwrap();
        }
        let grown = async || written(&node.http("/metrics").await.unwrap().1) - before;
        if is_flushed {
            wait::until("a flush", Duration::from_secs(20), async || {
                wait::is(grown().await > f64::from(1 << 20), || "nothing was written".to_owned())
            })
            .await;
        } else {
            assert_eq!(grown().await, 0.0);
        }
    }
}
