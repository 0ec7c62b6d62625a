//! Runs the `kvcli` binary.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// No test runs a command that may take longer.
const MAX_RUN: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// A `kvcli` that knows nothing from the environment.
pub(crate) fn kvcli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvcli"));
    command.env_remove("KVCLI_ENDPOINTS").env_remove("KVCLI_CLUSTER").kill_on_drop(true);
    command
}

/// Runs `kvcli --endpoints ENDPOINTS ARGS...` to its end.
pub(crate) async fn run(endpoints: &str, args: &[impl AsRef<OsStr>]) -> Ended {
    run_with_input(endpoints, args, b"").await
}

pub(crate) async fn run_with_input(endpoints: &str, args: &[impl AsRef<OsStr>], input: &[u8]) -> Ended {
    let mut command = kvcli();
    command.arg("--endpoints").arg(endpoints).args(args);
    finish(command, input).await
}

pub(crate) async fn finish(mut command: Command, input: &[u8]) -> Ended {
    let started = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = tokio::spawn(async move {
        // A program that does not want its input closes it.
        let _ = stdin.write_all(&input).await;
    });
    let output = tokio::time::timeout(MAX_RUN, child.wait_with_output()).await.unwrap().unwrap();
    writing.abort();
    Ended {
        code: output.status.code().expect("killed by a signal"),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: started.elapsed(),
    }
}
