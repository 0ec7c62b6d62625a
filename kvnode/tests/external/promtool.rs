//! What Prometheus' own linter says of the metrics.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::alone;
use crate::support::busy::{busy_cluster, metrics};

/// What a leader with peers shows, after a put and a snapshot, passes `promtool check metrics`, and
/// so does what a follower shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_wrong() {
    let _alone = alone();
    let cluster = busy_cluster().await;
    for node in &cluster.nodes {
        let text = metrics(node).await;
        let complaints = promtool(&text);
        assert_eq!(complaints, "", "node {}", node.id());
    }
    // It can complain.
    assert_ne!(promtool("# TYPE a_counter counter\na_counter 1\n"), "");
}

fn promtool(text: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { said } else { format!("{said}(failed)") }
}
