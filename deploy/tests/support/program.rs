//! Programs that are run to their end, which must come in time.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No program may take longer.
const MAX_RUN: Duration = Duration::from_secs(180);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none: killed by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs it to its end. What it prints goes to files, because a pipe without a reader would hold it
/// up.
pub fn run(command: &mut Command) -> Ended {
    let shown = format!("{command:?}");
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > MAX_RUN {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still runs after {MAX_RUN:?}: {shown}: {}", text(&mut stderr));
        }
        sleep(Duration::from_millis(10));
    };
    Ended { code: status.code(), stdout: text(&mut stdout), stderr: text(&mut stderr) }
}

/// Runs it; it must succeed. Answers its standard output without white space at the end.
pub fn output(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.code, Some(0), "{command:?}: {ended:#?}");
    ended.stdout.trim_end().to_owned()
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
