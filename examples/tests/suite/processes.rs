//! testing.md, "The program": it stands there as it is here.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends one request; `None` if there was no whole answer.
fn post(port: u16, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let head = "host: node\r\nconnection: close\r\ncontent-type: application/json";
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Asks until it is answered with 200.
fn ask(port: u16, path: &str, body: &str) -> String {
    let begun = Instant::now();
    loop {
        match post(port, path, body) {
            Some((200, answer)) => return answer,
            other => assert!(begun.elapsed() < TIMEOUT, "{path}: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Killed at the end of a test, also of one that fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn what_was_acknowledged_is_there_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let bound = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [client, raft, http] = bound.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let peers = format!("1=127.0.0.1:{raft}/127.0.0.1:{client}");
    // Given back just before the start; a test that runs beside others chooses other ports if one
    // was taken meanwhile.
    drop(bound);
    let start = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        program.args(["--id", "1", "--peers", &peers]).arg("--data-dir").arg(dir.path().join("1"));
        for (option, port) in [("--client-addr", client), ("--raft-addr", raft), ("--http-addr", http)] {
            program.arg(option).arg(format!("127.0.0.1:{port}"));
        }
        Running(program.stderr(Stdio::null()).spawn().unwrap())
    };
    let node = start();
    ask(http, "/admin/init", "");
    // A write that is sent again has a name, or is one that may be applied twice.
    ask(http, "/write", r#"{"Deliver": {"item": "bolts", "count": 10}}"#);
    drop(node);
    let _node = start();
    let left: u64 = ask(http, "/read", r#"{"Left": "bolts"}"#).parse().unwrap();
    assert!(left >= 10 && left.is_multiple_of(10), "{left}");
}
