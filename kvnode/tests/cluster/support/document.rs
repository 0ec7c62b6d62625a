//! Commands in documents, run as a reader would run them.

use std::path::Path;
use std::process::Command;

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
