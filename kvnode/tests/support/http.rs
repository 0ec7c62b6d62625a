//! HTTP as a probe or a scraper speaks it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// GET: status code and body.
pub async fn get(addr: &str, path: &str) -> Result<(u16, String), String> {
    get_with(addr, path, "").await
}

/// The same with more headers, each a line.
pub async fn get_with(addr: &str, path: &str, headers: &str) -> Result<(u16, String), String> {
    let answer = tokio::time::timeout(TIMEOUT, exchange(addr, path, headers)).await;
    let answer = answer.map_err(|_| format!("{addr}{path}: no answer"))?;
    let text = answer.map_err(|e| format!("{addr}{path}: {e}"))?;
    parse(&text).ok_or_else(|| format!("{addr}{path}: not HTTP: {text}"))
}

async fn exchange(addr: &str, path: &str, headers: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((code, body.to_owned()))
}

/// What `/metrics` shows: series with labels, and their values.
#[derive(Debug)]
pub struct Series(BTreeMap<String, f64>);

impl Series {
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a series: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("not a number: {line}")))
        });
        Self(series.collect())
    }

    /// The sum over all series of this name that carry each of these `label="value"` pairs.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether there is any.
    pub fn has(&self, name: &str, labels: &[&str]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a String, f64)> {
        let named = move |series: &str| series.split('{').next() == Some(name);
        let labelled = |series: &str| labels.iter().all(|label| series.contains(label));
        self.0
            .iter()
            .filter(move |(series, _)| named(series) && labelled(series))
            .map(|(series, value)| (series, *value))
    }
}
