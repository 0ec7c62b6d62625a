//! Commands in documents, run as a reader would run them.

use std::path::Path;
use std::process::Command;

/// All pages of `docs/operations`, in the order of their names.
pub fn operations() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations");
    let mut pages: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages.iter().map(|page| std::fs::read_to_string(page).unwrap() + "\n").collect()
}

/// The commands of a block: a line each, or several that end in a backslash.
pub fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", "");
    joined.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// The fenced code blocks of a Markdown text with their marks (as in `sh run`), in order.
pub fn blocks(text: &str) -> Vec<(&str, &str)> {
    let inside = text.split("\n```").skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').unwrap_or((block, ""))).collect()
}

/// A shell that runs one line in `dir` and finds the built programs.
pub fn shell(line: &str, dir: &Path) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_kvnode")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(programs.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("exec {line}")]).current_dir(dir).env("PATH", path.unwrap());
    command.env_remove("KVCLI_ENDPOINTS");
    command
}
