//! The commands of docs/operations, by scenario: the words after `sh` where a block begins.

use super::repository;

/// The lines of the blocks marked `sh SCENARIO`, in order; there must be some.
pub fn commands(scenario: &str) -> Vec<String> {
    let pages = std::fs::read_dir(repository("docs/operations")).unwrap();
    let text: String =
        pages.map(|page| std::fs::read_to_string(page.unwrap().path()).unwrap() + "\n").collect();
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let ours = blocks.filter(|(mark, _)| *mark == format!("sh {scenario}"));
    let lines: Vec<_> = ours.flat_map(|(_, text)| text.lines()).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "docs/operations has no block `sh {scenario}`");
    lines
}
