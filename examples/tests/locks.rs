//! The lock service on three processes: taken over HTTP on any node, kept over the kill of all, and
//! had by a new member.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Lines of code besides the types, `apply` and `query`.
const MAX_OTHER_LINES: usize = 40;

struct Node {
    id: u64,
    /// For clients, peers and HTTP.
    ports: [u16; 3],
    process: Option<Child>,
}

impl Node {
    fn new(id: u64) -> Self {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        Self { id, ports, process: None }
    }

    fn listed(&self) -> String {
        let [client, raft, _] = self.ports;
        format!("{}=127.0.0.1:{raft}/127.0.0.1:{client}", self.id)
    }

    fn start(&mut self, home: &Path, peers: Option<&str>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_locks"));
        command.args(["--id", &self.id.to_string()]).arg("--data-dir").arg(home.join(self.id.to_string()));
        for (flag, port) in ["--client-addr", "--raft-addr", "--http-addr"].iter().zip(self.ports) {
            command.args([*flag, &format!("127.0.0.1:{port}")]);
        }
        if let Some(peers) = peers {
            command.args(["--peers", peers]);
        }
        self.process = Some(command.stdin(Stdio::null()).spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Status code and body.
    fn post(&self, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[2]))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let code = code.ok_or_else(|| std::io::Error::other(answer.clone()))?;
        Ok((code, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// Asks until it is answered well.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let started = Instant::now();
        loop {
            match self.post(path, body) {
                Ok((200, answer)) => return answer,
                other => assert!(started.elapsed() < DEADLINE, "{path} {body}: {other:?}"),
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

#[test]
fn locks_are_kept_over_the_kill_of_all_and_had_by_a_new_member() {
    let home = tempfile::tempdir().unwrap();
    let mut nodes: Vec<_> = (1..=3).map(Node::new).collect();
    let peers: Vec<_> = nodes.iter().map(Node::listed).collect();
    let peers = peers.join(",");
    nodes.iter_mut().for_each(|node| node.start(home.path(), Some(&peers)));
    let members = nodes[0].ask("/admin/init", &json!(null));
    assert_eq!(members.as_array().map(Vec::len), Some(3), "{members}");

    let acquire =
        |owner: &str| json!({ "Acquire": { "lock": "build", "owner": owner, "ttl_ms": 3_600_000 } });
    let granted = nodes[1].ask("/write", &acquire("ann"));
    let token = granted["Granted"]["token"].as_u64().unwrap_or_else(|| panic!("{granted}"));
    assert_eq!(nodes[2].ask("/write", &acquire("bob")), json!({ "Queued": { "ahead": 0 } }));
    let (code, refused) = nodes[0].post("/write", &json!({ "Steal": {} })).unwrap();
    assert_eq!((code, &refused["applied"]), (422, &json!("no")), "{refused}");

    nodes.iter_mut().for_each(Node::kill);
    nodes.iter_mut().for_each(|node| node.start(home.path(), None));
    let held = |node: &Node| node.ask("/read", &json!({ "Lock": "build" }));
    assert_eq!(held(&nodes[0])["Lock"]["holder"]["owner"], "ann");
    let released = json!({ "Release": { "lock": "build", "owner": "ann", "token": token } });
    assert_eq!(nodes[1].ask("/write", &released), json!({ "Released": { "next": "bob" } }));

    let mut fourth = Node::new(4);
    fourth.start(home.path(), None);
    let [client, raft, _] = fourth.ports;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let endpoint = format!("127.0.0.1:{}", nodes[0].ports[0]);
        let kvcli = kvcli::Client::connect([endpoint], kvcli::ClientOptions::default()).unwrap();
        let (raft, client) = (format!("127.0.0.1:{raft}"), format!("127.0.0.1:{client}"));
        let started = Instant::now();
        // Refused as long as the new node does not listen.
        while let Err(error) = kvcli.add_learner(4, &raft, &client).await {
            assert!(started.elapsed() < DEADLINE, "{error}");
            tokio::time::sleep(POLL).await;
        }
    });
    let seen = fourth.ask("/read-stale", &json!({ "Acquisitions": "bob" }));
    assert_eq!(seen, json!({ "Acquisitions": 1 }));
    assert_eq!(held(&fourth)["Lock"]["holder"]["owner"], "bob");
}

/// What is not the application: imports, arguments, and how the node is started.
#[test]
fn the_rest_is_short() {
    let source = include_str!("../src/bin/locks.rs");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let before = source.split("#[derive(Debug, Serialize").next().unwrap();
    let after = source.split("/// A replicated lock service.").nth(1).unwrap();
    let lines = before.lines().chain(after.lines()).filter(is_code).count();
    assert!(lines <= MAX_OTHER_LINES, "{lines} lines");
}
