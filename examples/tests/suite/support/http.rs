//! HTTP/1.1 without a library, to see the bytes.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use super::DEADLINE;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    /// Status line and headers.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// The head of a request whose connection ends with its answer.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], body_bytes: usize) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {body_bytes}\r\n\r\n"
    )
}

/// Sends a request and reads its answer.
pub fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = connect(port)?;
    stream.write_all(head(method, path, headers, body.len()).as_bytes())?;
    stream.write_all(body.as_bytes())?;
    answer(&mut stream)
}

/// Reads to the end of the connection.
pub fn answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let parsed = || {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { code, head: head.to_owned(), body: body.to_owned() })
    };
    parsed().ok_or_else(|| io::Error::other(text.clone()))
}
