//! The `kvcli` program, as an operator runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::serve::clean;
use super::{Ended, run_to_end, wait};

/// No command may take longer.
const MAX_RUN: Duration = Duration::from_secs(70);
/// A cluster that is well says so within this.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(15);

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
    pub async fn json(&self, line: &str) -> Value {
        let text = self.ok(&format!("--output json {line}")).await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("kvcli {line} printed no JSON ({e}): {text}"))
    }

    /// Waits until the cluster says that all is well with it.
    pub async fn all_is_well(&self) {
        wait::until("all is well", NOTICE_TIMEOUT, async || {
            let ended = self.run("--output json cluster status").await;
            let status: Value =
                serde_json::from_str(&ended.stdout).map_err(|e| format!("{e}: {ended:#?}"))?;
            wait::is(status["health"] == "ok", || format!("{status:#}"))
        })
        .await;
    }
}

/// It ended with the code of a request that the server refused, and said these things.
pub fn assert_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in {ended:#?}");
    }
}

impl Kvcli {
    /// For a test that has an environment or options of its own.
    pub fn program() -> PathBuf {
        program()
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
