//! The `kvcli` program, as an operator runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::serve::clean;
use super::{Ended, run_to_end};

/// No command may take longer.
const MAX_RUN: Duration = Duration::from_secs(70);

/// The program with its `--endpoints`.
#[derive(Debug, Clone)]
pub struct Kvcli {
    endpoints: String,
}

impl Kvcli {
    pub fn new(endpoints: &[String]) -> Self {
        Self { endpoints: endpoints.join(",") }
    }

    /// Runs a command line, split at spaces.
    pub async fn run(&self, line: &str) -> Ended {
        let mut command = clean(Command::new(program()));
        command.args(["--endpoints", &self.endpoints]).args(line.split_whitespace());
        run_to_end(command, MAX_RUN).await
    }

    /// The same, and it must succeed; answers its standard output.
    pub async fn ok(&self, line: &str) -> String {
        let ended = self.run(line).await;
        assert_eq!(ended.code, Some(0), "kvcli {line}: {ended:#?}");
        ended.stdout
    }

    /// The same with `--output json`, parsed.
    pub async fn json(&self, line: &str) -> serde_json::Value {
        let text = self.ok(&format!("--output json {line}")).await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("kvcli {line} printed no JSON ({e}): {text}"))
    }
}

/// Another package's binary: cargo builds it beside `kvnode` only if it is asked for the workspace.
fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_kvnode")).with_file_name("kvcli");
    assert!(
        program.exists(),
        "{} is missing; run: cargo test --release --workspace (or build it first: cargo build --release --bin kvcli)",
        program.display()
    );
    program
}
