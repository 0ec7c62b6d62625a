//! One child process: started with its output in a file, killed at the latest when dropped.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::wait;

/// A running child. Invariant: once this is dropped, the process has ended.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    // Nodes are told to stop when it ends, so they do not outlive a test that is killed.
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("the log can be written");
        Self::start_into(command, output.into(), log)
    }

    /// Starts `command`; what it prints goes to `output`, and not to `log`.
    pub fn start_into(command: &mut Command, output: OwnedFd, log: &Path) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a second handle on the output"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let stdin = child.stdin.take();
        Self { child, log: log.to_owned(), _stdin: stdin }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.send_kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// `kill -9` alone.
    pub fn send_kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for")
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("process {} ends", self.child.id());
        wait::until(&what, within, async || self.exit_status().ok_or_else(|| "it runs".to_owned())).await
    }

    /// All it has printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(to_pid(pid), signal).unwrap_or_else(|e| panic!("cannot send {signal:?} to {pid}: {e}"));
}

/// Whether a process with this id exists, and is no zombie.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    test_kill_process(to_pid(pid)).is_ok() && !zombie
}

fn to_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("not 0")
}

/// How a program ended that was run to its end.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none: killed by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program to its end, which must come `within` this time.
pub async fn run_to_end(command: Command, within: Duration) -> Ended {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(within, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("still runs after {within:?}: {shown}"));
    let output = output.unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
