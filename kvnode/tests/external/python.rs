//! The examples in Python, with the code that `protoc` makes of the protocol.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Cluster, ClusterOptions, alone, run_to_end};

/// The example in Python that sends many operations over one session. Its packages are where
/// `KV_TESTS_PYTHON` says, or with `python3`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_in_python_runs() {
    let python = std::env::var("KV_TESTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let _alone = alone();
    let cluster = Cluster::start(ClusterOptions::default()).await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python");
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/proto");
    for file in ["kv_session.py", "kv_client.py"] {
        std::fs::copy(example.join(file), cluster.path().join(file)).unwrap();
    }
    let run = async |args: &[&str]| {
        let mut command = Command::new(&python);
        command.args(args).current_dir(cluster.path());
        let ended = run_to_end(command, Duration::from_secs(60)).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.stdout
    };
    let include = format!("-I{}", protocol.display());
    let protoc = ["-m", "grpc_tools.protoc", &include, "--python_out=.", "--grpc_python_out=."];
    run(&[&protoc[..], &["kv/v1/kv.proto", "node/v1/cluster.proto"]].concat()).await;
    let follower = cluster.node(cluster.followers().await[0]).client_addr();
    let told = run(&["kv_session.py", "--endpoint", &follower, "--pairs", "1000"]).await;
    assert_eq!(told.trim(), "stored and read 1000 pairs");
    run(&["kv_client.py", "--endpoints", &follower, "put", "greeting", "hello"]).await;
    assert_eq!(run(&["kv_client.py", "--endpoints", &follower, "get", "greeting"]).await.trim(), "hello");
}
