//! Attacks with signals that end a process which does not expect them.

use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, beside_others, signal, wait};
use rustix::process::Signal;

const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);

/// Found: a terminal that was closed, and a log reader's `kill -HUP`, ended a node without a
/// word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_outlives_signals_that_are_no_request_to_stop() {
    let _place = beside_others();
    let mut cluster = Cluster::start(ClusterOptions { nodes: 1, ..ClusterOptions::default() }).await;
    let pid = cluster.nodes[0].pid();
    for sent in [Signal::HUP, Signal::PIPE, Signal::XFSZ, Signal::HUP] {
        signal(pid, sent);
    }
    wait::until("both are said to be ignored", NOTICE_TIMEOUT, async || {
        let log = cluster.nodes[0].log();
        wait::is(log.matches("SIGHUP: ignored").count() > 0, || log)
    })
    .await;
    cluster.client().put("key", "value").await.unwrap();
    assert!(cluster.nodes[0].stop().await.success());
}

/// Found: a limit on the size of files ended a node in the middle of a write, by SIGXFSZ, without
/// a word. It is a fault of the storage like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_is_a_storage_fault() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions {
        nodes: 1,
        // Of 512 bytes; the log makes room for more.
        ulimits: vec!["-f 256".to_owned()],
        ..ClusterOptions::default()
    });
    cluster.start_all();
    let named = |text: &str| text.contains("File too large") && text.contains("storage");
    wait::until("the node says that it cannot write", NOTICE_TIMEOUT, async || {
        let (code, why) = cluster.nodes[0].http("/readyz").await?;
        wait::is(code == 503 && named(&why), || format!("{code} {why}"))
    })
    .await;
    let (code, why) = cluster.nodes[0].http("/livez").await.unwrap();
    assert!(code == 503 && named(&why), "/livez: {code} {why}");
    wait::until("its log says so", NOTICE_TIMEOUT, async || {
        wait::is(named(&cluster.nodes[0].log()), || cluster.nodes[0].log_tail())
    })
    .await;
    assert_eq!(cluster.nodes[0].stop().await.code(), Some(1));
}
