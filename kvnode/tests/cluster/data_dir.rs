//! Attacks the data directory of a running node by its name: it is removed, or another one is put
//! in its place.

use std::fs;
use std::time::Duration;

use crate::support::{
    Cluster, ClusterOptions, Dice, Load, LoadOptions, Node, beside_others, refuses_everything, wait,
};
use tonic::Code;

/// It is looked at each second, on a machine with other work.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);

/// Found: `rm -rf` of the leader's data directory was not noticed for as long as no file had to
/// be opened, while it went on acknowledging. The node names the directory, serves nothing, and
/// the others lead; the same if the directory is moved away and an empty one made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_taken_away_is_a_storage_fault() {
    let _place = beside_others();
    for replaced in [false, true] {
        let mut dice = Dice::new("data_dir");
        let mut cluster = Cluster::start(ClusterOptions::default()).await;
        let options = LoadOptions { writers: 2, readers: 1, ..LoadOptions::default() };
        let mut load = Load::start(&cluster.client(), options, &mut dice);
        load.progress(50, PROGRESS_TIMEOUT).await;
        let id = cluster.leader().await;
        let dir = cluster.node(id).serve.data_dir.clone();
        if replaced {
            fs::rename(&dir, cluster.path().join("aside")).unwrap();
            fs::create_dir(&dir).unwrap();
        } else {
            // The node makes files in it meanwhile.
            while fs::remove_dir_all(&dir).is_err() {}
        }
        says_so(cluster.node(id)).await;
        let named = dir.display().to_string();
        refuses_everything(cluster.node(id), Code::DataLoss, &named).await;
        wait::until("another node leads", PROGRESS_TIMEOUT, async || {
            let others = cluster.nodes.iter().filter(|node| node.id() != id);
            let leaders = futures_util::future::try_join_all(others.map(Node::status)).await?;
            let leader = |s: &proto::node::v1::StatusResponse| s.header.as_ref().map_or(0, |h| h.leader_id);
            let leaders: Vec<_> = leaders.iter().map(leader).collect();
            wait::is(leaders[0] != 0 && leaders[0] != id, || format!("{leaders:?}"))
        })
        .await;
        load.progress(50, PROGRESS_TIMEOUT).await;
        assert_eq!(cluster.node_mut(id).stop().await.code(), Some(1), "{}", cluster.node(id).log_tail());
        let ledger = load.stop().await;
        ledger.assert_kept(&cluster.same_state().await);
    }
}

/// The storage may be the first to miss a file: then it is that file below the directory that is
/// named.
async fn says_so(node: &Node) {
    let fault = format!("storage fault in {}", node.serve.data_dir.display());
    let named = |text: &str| text.contains(&fault);
    for path in ["/readyz", "/livez"] {
        wait::until(path, NOTICE_TIMEOUT, async || {
            let (code, why) = node.http(path).await?;
            wait::is(code == 503 && named(&why), || format!("{code} {why}"))
        })
        .await;
    }
    wait::until("the log", NOTICE_TIMEOUT, async || wait::is(named(&node.log()), || node.log_tail())).await;
}
