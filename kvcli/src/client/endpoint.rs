//! Where a node serves clients.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::ClientError;

/// The most endpoints a client may be given.
pub const MAX_ENDPOINTS: usize = 64;

/// Longest accepted `host:port`: a full domain name (253), a colon and a port.
const MAX_ENDPOINT_BYTES: usize = 259;

/// A `host:port`. Cheap to clone.
///
/// Invariants: a host of 1 byte or more without characters that a URI would read as something else,
/// a port of 1 to 65535, at most 259 bytes in all. So it always forms a valid `http://` URI
/// authority.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn uri(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.0)
    }

    /// Without the port, and an IPv6 address without its brackets.
    pub(super) fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Parses a list that must hold 1 to [`MAX_ENDPOINTS`] endpoints; repeated ones count once.
    pub(super) fn parse_all(
        texts: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Self>, ClientError> {
        let mut endpoints = Vec::new();
        for text in texts {
            let endpoint: Self = text.as_ref().parse()?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
            if endpoints.len() > MAX_ENDPOINTS {
                return Err(ClientError::TooManyEndpoints);
            }
        }
        if endpoints.is_empty() { Err(ClientError::NoEndpoint) } else { Ok(endpoints) }
    }
}

impl FromStr for Endpoint {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let trimmed = text.trim();
        let address = trimmed.strip_prefix("http://").unwrap_or(trimmed);
        let address = address.strip_suffix('/').unwrap_or(address);
        match flaw(address) {
            None => Ok(Self(address.into())),
            Some(reason) => Err(ClientError::BadEndpoint { text: shortened(text), reason }),
        }
    }
}

/// Why `address` is not a `host:port`, if it is not.
fn flaw(address: &str) -> Option<&'static str> {
    if address.starts_with("https://") {
        return Some("TLS is asked for by a CA (kvcli --cacert), not by https://");
    }
    if address.len() > MAX_ENDPOINT_BYTES {
        return Some("it is too long");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return Some("the port is missing");
    };
    if !is_host(host) {
        return Some("the host is missing or malformed");
    }
    // `parse` alone would accept "+80".
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => None,
        _ => Some("the port is not a number from 1 to 65535"),
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_ENDPOINT_BYTES).collect()
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("127.0.0.1:7001", "127.0.0.1:7001"),
            ("http://node-1.example:80", "node-1.example:80"),
            (" http://localhost:65535/ ", "localhost:65535"),
            ("[::1]:7001", "[::1]:7001"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn refused() {
        let long = format!("{}:80", "a".repeat(300));
        for text in [
            "",
            "localhost",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a b:80",
            "a/b:80",
            "https://a:80",
            "::1:80",
            "[::g]:80",
            "user@host:80",
            "ü:80",
            &long,
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn lists_are_deduplicated_and_bounded() {
        assert_eq!(Endpoint::parse_all(["a:1", "http://a:1", "b:1"]).unwrap().len(), 2);
        assert!(matches!(Endpoint::parse_all([""; 0]), Err(ClientError::NoEndpoint)));
        let many = (1..=MAX_ENDPOINTS + 1).map(|port| format!("a:{port}"));
        assert!(matches!(Endpoint::parse_all(many), Err(ClientError::TooManyEndpoints)));
    }
}
