//! `host:port`, checked as text: names are resolved when they are used.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Serialize;

/// A host name or IP address, and a port. IPv6 addresses stand in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

/// Text is not `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No colon, or nothing before it.
    #[error("'{0}' is not host:port, for example 10.0.0.1:7001")]
    Shape(String),
    /// Not a number from 0 to 65535 after the last colon.
    #[error("'{0}' has no port from 0 to 65535 after the colon")]
    Port(String),
    /// An IPv6 address outside brackets, or a character no host name has.
    #[error("'{0}' has no valid host; an IPv6 address stands in brackets, as in [::1]:7001")]
    Host(String),
}

impl Address {
    /// Whether it cannot be dialled: port 0, or an address that means "every interface".
    #[must_use]
    pub fn is_undialable(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        self.port == 0 || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Shape(text.to_owned()))?;
        if host.is_empty() {
            return Err(AddressError::Shape(text.to_owned()));
        }
        if !is_host(host) {
            return Err(AddressError::Host(text.to_owned()));
        }
        let port = port.parse().map_err(|_| AddressError::Port(text.to_owned()))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_print_as_they_were_given() {
        for text in ["127.0.0.1:7001", "[::1]:0", "node-1.example.org:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        for (text, part) in [
            ("x", "host:port"),
            (":1", "host:port"),
            ("h:x", "port"),
            ("h:65536", "port"),
            ("::1:7", "brackets"),
            ("a/b:1", "host"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn undialable() {
        for (text, undialable) in
            [("0.0.0.0:1", true), ("[::]:1", true), ("a:0", true), ("127.0.0.1:1", false)]
        {
            assert_eq!(text.parse::<Address>().unwrap().is_undialable(), undialable, "{text}");
        }
    }
}
