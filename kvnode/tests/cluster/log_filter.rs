//! Attacks the log's filter: one that means nothing must not silence a node.

use std::path::Path;
use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, Ended, Serve, beside_others, run_to_end};

const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);
const EXIT_BAD_ARGUMENTS: i32 = 3;

/// Found: `--log inof` was taken for a module's name, and a node logged nothing, not even its
/// end; a `RUST_LOG` that could not be understood was ignored. From each of the four sources it
/// is refused with the exit code of wrong options, before the node has opened anything; an empty
/// variable is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_means_nothing_is_refused() {
    let _place = beside_others();
    let cluster = Cluster::prepare(ClusterOptions::default());
    let good = &cluster.nodes[0].serve;
    for filter in ["inof", "nonsense=xyz", "foo,,bar=", "kvnode"] {
        let flag = Serve { flags: vec!["--log".into(), filter.into()], ..good.clone() };
        let variable = with_variable(good, "KVNODE_LOG", filter);
        let rust_log = with_variable(good, "RUST_LOG", filter);
        let file = cluster.path().join("kvnode.toml");
        std::fs::write(&file, format!("log = '{filter}'")).unwrap();
        let in_file = Serve { flags: vec!["--config".into(), shown(&file)], ..good.clone() };
        let sources = [
            (flag, "--log".to_owned()),
            (variable, "KVNODE_LOG".to_owned()),
            (rust_log, "RUST_LOG".to_owned()),
            (in_file, format!("log in {}", file.display())),
        ];
        for (serve, origin) in sources {
            let Ended { code, stderr, .. } = run_to_end(serve.command(), REFUSAL_TIMEOUT).await;
            let named = stderr.contains(&format!("{origin}: '{filter}' is not a log filter"));
            assert!(code == Some(EXIT_BAD_ARGUMENTS) && named, "{origin}, {filter}: {code:?} {stderr}");
        }
    }
    assert!(!good.data_dir.exists());
}

fn with_variable(serve: &Serve, name: &str, value: &str) -> Serve {
    Serve { env: vec![(name.into(), value.into())], ..serve.clone() }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// As a compose file passes variables that are not set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_variables_change_nothing() {
    let _place = beside_others();
    let mut cluster = Cluster::prepare(ClusterOptions { nodes: 1, ..ClusterOptions::default() });
    for name in ["KVNODE_PEERS", "KVNODE_LOG", "KVNODE_CONFIG", "KVNODE_SNAPSHOT_ENTRIES", "RUST_LOG"] {
        cluster.nodes[0].serve.env.push((name.into(), "".into()));
    }
    cluster.start_all();
    cluster.all_up().await;
    assert!(cluster.nodes[0].stop().await.success(), "{}", cluster.nodes[0].log_tail());
}
