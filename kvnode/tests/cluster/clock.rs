//! Attacks with a clock that cannot be right: nothing that is stored depends on the time of day.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Interposer, beside_others, wait};
use kvcli::ReadMode;

const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);

/// Found: with a clock before 1970 every line of the log was a panic, and a node that did not say
/// anything panicked with its first answer. It serves, says on HTTP (which cannot be answered
/// otherwise) what is wrong, and ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_before_1970_serves() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let interposer = Interposer::for_cluster_in(cluster.path());
    for node in &mut cluster.nodes {
        interposer.set_clock_of(&mut node.serve);
    }
    cluster.start_all();
    cluster.all_up().await;
    let client = cluster.client();
    client.init().await.unwrap();
    cluster.leader().await;
    for n in 0..50 {
        client.put(format!("key-{n}"), "value").await.unwrap();
        let answer = client.get(format!("key-{n}"), ReadMode::Linearizable).await.unwrap();
        assert_eq!(answer.pair.unwrap().value, "value");
    }
    for node in &mut cluster.nodes {
        let (code, why) = node.http("/readyz").await.unwrap();
        assert!(code == 503 && why.contains("before 1970"), "{code} {why}");
        assert!(node.stop().await.success());
        wait::until("its log is dated", NOTICE_TIMEOUT, async || {
            let log = node.log();
            wait::is(log.contains("1969-") && log.contains("stopped"), || log)
        })
        .await;
        assert!(!node.log().contains("panic"), "{}", node.log());
    }
}
