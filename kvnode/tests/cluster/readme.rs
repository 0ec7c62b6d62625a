//! Runs the commands of the README as a newcomer would, in its order.
//!
//! Blocks marked `sh background` are started and left running, blocks marked `sh run` must succeed
//! line by line. `sh build` is what cargo has done before this test runs, and plain `sh` blocks are
//! the two commands that `playground.rs` and `.ci/run` run.

use std::time::Duration;

use crate::support::document::{blocks, shell};
use crate::support::{Process, alone, run_to_end};

const README: &str = include_str!("../../../README.md");
/// A line of a `run` block; `init` may have to wait for the nodes to listen.
const MAX_RUN: Duration = Duration::from_secs(30);
const MAX_STOP: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_readme_work_in_their_order() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    let mut printed = String::new();
    for (mark, text) in blocks(README) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match mark {
                "sh background" => {
                    let log = dir.path().join(format!("node-{}.log", nodes.len() + 1));
                    nodes.push(Process::start(&mut shell(line, dir.path()), &log));
                }
                "sh run" => {
                    for node in &mut nodes {
                        assert!(node.exit_status().is_none(), "a node ended: {}", node.output());
                    }
                    let ended = run_to_end(shell(line, dir.path()), MAX_RUN).await;
                    assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
                    printed.push_str(&ended.stdout);
                }
                _ => {}
            }
        }
    }
    assert_eq!(nodes.len(), 3);
    assert!(printed.contains("hello\n") && printed.contains("greeting\thello\n"), "{printed}");
    assert!(printed.contains("3 of 3 voters answer"), "{printed}");
    for mut node in nodes {
        crate::support::signal(node.id(), rustix::process::Signal::TERM);
        let status = node.ended(MAX_STOP).await;
        assert!(status.success(), "{status}: {}", node.output());
    }
}

#[test]
fn the_two_commands_are_in_the_readme() {
    let plain: Vec<&str> =
        blocks(README).into_iter().filter(|(mark, _)| *mark == "sh").map(|(_, text)| text.trim()).collect();
    assert_eq!(plain, ["cargo run --release --bin kvnode -- playground", "cargo test --release --workspace"]);
}
