//! One node of a test cluster: its command line, its process, and the ways to ask it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use proto::kv::v1 as kv;
use proto::kv::v1::kv_client::KvClient;
use proto::node::v1 as pb;
use proto::node::v1::cluster_client::ClusterClient;
use rustix::process::Signal;
use tonic::Request;
use tonic::transport::{Channel, ClientTlsConfig};

use super::rpc::{channel, kv_over};
use super::{Ports, Process, Serve, http_get, signal, wait};

/// How long a start, or a stop that was asked for, may take.
const START_TIMEOUT: Duration = Duration::from_secs(40);
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
/// A node that does not say how it is within this is not up.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    pub serve: Serve,
    /// How it is asked; none: without TLS.
    pub tls: Option<ClientTlsConfig>,
    log: PathBuf,
    /// Where the log of the running or last process begins.
    log_start: usize,
    process: Option<Process>,
}

impl Node {
    /// Not started yet; everything of it is in `home`.
    pub fn new(serve: Serve, home: &Path) -> Self {
        std::fs::create_dir_all(home).expect("the node's directory can be made");
        Self { serve, tls: None, log: home.join("kvnode.log"), log_start: 0, process: None }
    }

    pub fn id(&self) -> u64 {
        self.serve.id
    }

    pub fn ports(&self) -> Ports {
        self.serve.ports
    }

    pub fn client_addr(&self) -> String {
        self.serve.ports.client_addr()
    }

    /// Starts the process, and does not wait for it.
    pub fn start(&mut self) {
        let mut command = self.serve.command();
        // So that it does not outlive a test that is killed.
        command.arg("--exit-on-stdin-eof");
        self.start_as(&mut command);
    }

    /// Starts it with another command line.
    pub fn start_as(&mut self, command: &mut Command) {
        assert!(self.process.is_none(), "node {} runs already", self.id());
        self.log_start = self.log().len();
        self.process = Some(Process::start(command, &self.log));
    }

    /// Starts it; what it prints goes to `output` in place of its log.
    pub fn start_into(&mut self, output: OwnedFd) {
        assert!(self.process.is_none(), "node {} runs already", self.id());
        let mut command = self.serve.command();
        command.arg("--exit-on-stdin-eof");
        self.process = Some(Process::start_into(&mut command, output, &self.log));
    }

    /// How it ended by itself, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Process::exit_status)
    }

    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a started node").id()
    }

    /// `kill -9`; the process is gone when this returns.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// `kill -9` without waiting, so that several can die at the same instant; [`kill`](Self::kill)
    /// must follow.
    pub fn send_kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.send_kill();
        }
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a started node");
        signal(process.id(), Signal::TERM);
        process.ended(STOP_TIMEOUT).await
    }

    /// Stops it, starts it, and waits until it answers.
    pub async fn restart(&mut self) {
        assert!(self.stop().await.success(), "{}", self.log_tail());
        self.start();
        self.up().await;
    }

    /// Waits until it answers; `Err` if the process has ended instead.
    pub async fn try_up(&mut self) -> Result<pb::StatusResponse, String> {
        let id = self.id();
        wait::until(&format!("node {id} answers"), START_TIMEOUT, async || {
            if let Some(status) = self.process.as_mut().and_then(Process::exit_status) {
                return Ok(Err(format!("node {id} ended with {status}: {}", self.log_tail())));
            }
            self.status().await.map(Ok)
        })
        .await
    }

    /// Waits until it answers.
    pub async fn up(&mut self) -> pb::StatusResponse {
        self.try_up().await.unwrap_or_else(|ended| panic!("{ended}"))
    }

    /// What it says about itself.
    pub async fn status(&self) -> Result<pb::StatusResponse, String> {
        let mut admin = self.admin();
        let answer =
            tokio::time::timeout(STATUS_TIMEOUT, admin.status(Request::new(pb::StatusRequest {}))).await;
        let answer = answer.map_err(|_| format!("node {} gives no status", self.id()))?;
        Ok(answer.map_err(|e| format!("node {}: {}", self.id(), e.message()))?.into_inner())
    }

    /// Its key-value service, and no other node's.
    pub fn kv(&self) -> KvClient<Channel> {
        kv_over(channel(&self.client_addr(), self.tls.as_ref()))
    }

    pub fn admin(&self) -> ClusterClient<Channel> {
        ClusterClient::new(channel(&self.client_addr(), self.tls.as_ref()))
    }

    /// GET over HTTP: status code and body.
    pub async fn http(&self, path: &str) -> Result<(u16, String), String> {
        http_get(&self.serve.ports.http_addr(), path).await
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Without what earlier processes of this node have said.
    pub fn log_of_this_run(&self) -> String {
        self.log().split_off(self.log_start)
    }

    pub fn log_tail(&self) -> String {
        const LINES: usize = 12;
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n  ")
    }
}
