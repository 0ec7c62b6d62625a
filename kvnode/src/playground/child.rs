//! One node of the playground, as a child process.
//!
//! The child has a pipe as its standard input and stops when it ends: however this process dies,
//! its children follow.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child as Process, ChildStdin, Command};

use super::settings::{Ports, Settings};
use super::tls;

/// How long a node may take to stop once asked, before it is killed: longer than the deadlines of
/// its own shutdown together.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// A node's process.
pub(super) struct Child {
    pub(super) id: usize,
    pub(super) ports: Ports,
    pub(super) log: PathBuf,
    process: Process,
    // Its end tells the child to stop.
    _stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts node `id`, which keeps everything in `dir/node-ID`.
    pub(super) fn start(dir: &Path, settings: &Settings, id: usize, ports: Ports) -> anyhow::Result<Self> {
        let home = dir.join(format!("node-{id}"));
        std::fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        let log = home.join("kvnode.log");
        let log_file = File::options().create(true).append(true).open(&log);
        let log_file = log_file.with_context(|| format!("cannot write {}", log.display()))?;
        let mut process = command(dir, &home, settings, id, ports)?
            .stdin(Stdio::piped())
            .stdout(log_file.try_clone().context("cannot share the log file")?)
            .stderr(log_file)
            .spawn()
            .context("cannot start a node process")?;
        let stdin = process.stdin.take();
        Ok(Self { id, ports, log, process, _stdin: stdin })
    }

    /// The process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until the process has ended by itself.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Asks it to stop, and kills it if it does not.
    pub(super) async fn stop(mut self) {
        self.terminate();
        if tokio::time::timeout(STOP_TIMEOUT, self.process.wait()).await.is_err() {
            eprintln!("node {} did not stop within {STOP_TIMEOUT:?}; killing it", self.id);
            if let Err(e) = self.process.kill().await {
                eprintln!("cannot kill node {}: {e}", self.id);
            }
        }
    }

    /// A process that has ended already needs no signal.
    fn terminate(&self) {
        let pid = self.process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid
            && let Err(e) = kill_process(pid, Signal::TERM)
        {
            eprintln!("cannot stop node {}: {e}", self.id);
        }
    }
}

fn command(dir: &Path, home: &Path, settings: &Settings, id: usize, ports: Ports) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command
        .arg("serve")
        .args(["--id", &id.to_string()])
        .arg("--data-dir")
        .arg(home.join("data"))
        .args(["--client-addr", &format!("127.0.0.1:{}", ports.client)])
        .args(["--raft-addr", &format!("127.0.0.1:{}", ports.raft)])
        .args(["--http-addr", &format!("127.0.0.1:{}", ports.http)])
        .args(["--peers", &settings.peers()])
        .args(["--cluster-name", tls::CLUSTER_NAME])
        .arg("--exit-on-stdin-eof")
        // A Ctrl-C in the terminal is for this process, which stops the nodes in good order.
        .process_group(0)
        .kill_on_drop(true);
    if settings.tls {
        for (flag, file) in tls::flags(dir, id) {
            command.arg(flag).arg(file);
        }
    }
    // Settings meant for a node of its own must not reach these.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KVNODE_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}
