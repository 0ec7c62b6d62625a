//! One process of an example.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Answer, Dice, hold_port, http, until};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A node, whether it runs or not.
#[derive(Debug)]
pub struct Node {
    pub id: u64,
    pub client_port: u16,
    pub raft_port: u16,
    pub http_port: u16,
    /// Of the program's own server, if it has one.
    pub web_port: Option<u16>,
    binary: &'static str,
    process: Option<Child>,
}

impl Node {
    pub fn new(binary: &'static str, id: u64, has_web: bool) -> Self {
        let listeners = [(); 4].map(|()| hold_port());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let [client_port, raft_port, http_port, web_port] = ports;
        let web_port = has_web.then_some(web_port);
        Self { id, client_port, raft_port, http_port, web_port, binary, process: None }
    }

    pub fn client_addr(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub fn raft_addr(&self) -> String {
        format!("127.0.0.1:{}", self.raft_port)
    }

    /// As in a peer list.
    pub fn listed(&self) -> String {
        format!("{}={}/{}", self.id, self.raft_addr(), self.client_addr())
    }

    pub fn start(&mut self, home: &Path, peers: Option<&str>) {
        assert!(self.process.is_none(), "node {} runs", self.id);
        let mut command = Command::new(self.binary);
        command.args(["--id", &self.id.to_string()]).arg("--data-dir").arg(home.join(self.id.to_string()));
        command.args(["--client-addr", &self.client_addr(), "--raft-addr", &self.raft_addr()]);
        command.args(["--http-addr", &format!("127.0.0.1:{}", self.http_port)]);
        if let Some(port) = self.web_port {
            command.args(["--listen", &format!("127.0.0.1:{port}")]);
        }
        if let Some(peers) = peers {
            command.args(["--peers", peers]);
        }
        self.process = Some(command.stdin(Stdio::null()).spawn().unwrap());
    }

    /// As kill -9 does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Asks it to stop, and does not wait.
    pub fn ask_to_stop(&self) {
        let process = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(process), Signal::TERM).unwrap();
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> ExitStatus {
        let process = self.process.as_mut().unwrap();
        let status = until("the end of the process", || process.try_wait().unwrap().ok_or("it runs"));
        self.process = None;
        status
    }

    /// Sends JSON to the node's own HTTP port.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> io::Result<Answer> {
        let headers: Vec<_> = headers.iter().copied().chain([JSON]).collect();
        http::exchange(self.http_port, "POST", path, &headers, &body.to_string())
    }

    /// Asks the node's own HTTP port.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        http::exchange(self.http_port, "GET", path, &[], "")
    }

    /// Sends JSON until it is answered well. A write has a name: sent again after an answer that
    /// was lost, it is not done twice.
    pub fn ask(&self, path: &str, body: &Value) -> Value {
        if path != "/write" {
            return self.ask_as(path, &[], body);
        }
        let mut dice = Dice::unseeded();
        let client = format!("{:016x}{:016x}", dice.next(), dice.next());
        self.ask_as(path, &[("client-id", &client), ("sequence", "1")], body)
    }

    /// The same with headers.
    pub fn ask_as(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
        until(&format!("{path} {body}"), || match self.post(path, headers, body) {
            Ok(answer) if answer.code == 200 => Ok(answer.json()),
            other => Err(other),
        })
    }

    /// Sends a request to the program's own server.
    pub fn web(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        http::exchange(self.web_port.expect("it has one"), method, path, &[], body)
    }

    /// Begins a request to the program's own server; returns once its handler waits for the body.
    pub fn begin_web(&self, method: &str, path: &str, body_bytes: usize) -> TcpStream {
        let mut stream = http::connect(self.web_port.expect("it has one")).unwrap();
        let expects = [("Expect", "100-continue")];
        stream.write_all(http::head(method, path, &expects, body_bytes).as_bytes()).unwrap();
        let mut interim = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
        io::Read::read_exact(&mut stream, &mut interim).unwrap();
        assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", interim.escape_ascii());
        stream
    }

    /// Sends its body; answers what came back.
    pub fn end_web(mut stream: TcpStream, body: &str) -> Answer {
        stream.write_all(body.as_bytes()).unwrap();
        http::answer(&mut stream).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
