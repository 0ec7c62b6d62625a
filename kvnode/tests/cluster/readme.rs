//! The commands of the README: two in plain `sh` blocks, which `playground.rs` and `.ci/run` run.
//! Its program and the commands behind it are run by `examples/tests/external/guide.rs`.

use crate::support::document::blocks;

const README: &str = include_str!("../../../README.md");

#[test]
fn the_two_commands_are_in_the_readme() {
    let plain: Vec<&str> =
        blocks(README).into_iter().filter(|(mark, _)| *mark == "sh").map(|(_, text)| text.trim()).collect();
    assert_eq!(plain, ["cargo run --release --bin kvnode -- playground", "cargo test --release --workspace"]);
}
