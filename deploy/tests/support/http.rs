//! HTTP as a probe or a scraper speaks it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// GET: the body of a 200; everything else is an error.
pub fn get(addr: &str, path: &str) -> Result<String, String> {
    let answer = exchange(addr, path).map_err(|e| format!("{addr}{path}: {e}"))?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err(format!("{addr}{path}: {answer}"));
    };
    if head.get(9..12) == Some("200") { Ok(body.to_owned()) } else { Err(format!("{addr}{path}: {answer}")) }
}

/// HTTP/1.0: the answer ends with the connection, and comes in one piece.
fn exchange(addr: &str, path: &str) -> io::Result<String> {
    let addr: SocketAddr = addr.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// `text` as a value in a query string.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}
