//! Which files the certificates and keys of the three ports are in.

use std::path::{Path, PathBuf};

/// Certificates, keys and CAs in PEM. None: connections are not encrypted.
///
/// A port without a certificate has no TLS. `docs/operations/tls.md` says what each port then
/// accepts, and by which rule nodes know each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "args", derive(clap::Args))]
pub struct TlsOptions {
    /// Certificate chain for clients; needs --client-key and --peer-cert
    #[cfg_attr(feature = "args", arg(long, env = "NODE_CLIENT_CERT", value_name = "FILE"))]
    pub client_cert: Option<PathBuf>,
    /// Key of --client-cert
    #[cfg_attr(feature = "args", arg(long, env = "NODE_CLIENT_KEY", value_name = "FILE"))]
    pub client_key: Option<PathBuf>,
    /// Demand of clients a certificate of one of these CAs
    #[cfg_attr(feature = "args", arg(long, env = "NODE_CLIENT_CA", value_name = "FILE"))]
    pub client_ca: Option<PathBuf>,
    /// This node's certificate chain for the other nodes; needs --peer-key and --peer-ca
    #[cfg_attr(feature = "args", arg(long, env = "NODE_PEER_CERT", value_name = "FILE"))]
    pub peer_cert: Option<PathBuf>,
    /// Key of --peer-cert
    #[cfg_attr(feature = "args", arg(long, env = "NODE_PEER_KEY", value_name = "FILE"))]
    pub peer_key: Option<PathBuf>,
    /// CAs of the nodes' certificates
    #[cfg_attr(feature = "args", arg(long, env = "NODE_PEER_CA", value_name = "FILE"))]
    pub peer_ca: Option<PathBuf>,
    /// Certificate chain for HTTP; needs --http-key
    #[cfg_attr(feature = "args", arg(long, env = "NODE_HTTP_CERT", value_name = "FILE"))]
    pub http_cert: Option<PathBuf>,
    /// Key of --http-cert
    #[cfg_attr(feature = "args", arg(long, env = "NODE_HTTP_KEY", value_name = "FILE"))]
    pub http_key: Option<PathBuf>,
    /// While nodes and clients change over to TLS: accept connections without it as well, and reach
    /// other nodes without it where they have none
    #[cfg_attr(feature = "args", arg(long, env = "NODE_ALLOW_PLAINTEXT"))]
    pub allow_plaintext: bool,
}

/// Options of TLS that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsOptionsError {
    /// One file without another.
    #[error("{given} is given without {missing}; {advice}")]
    Incomplete {
        /// A flag.
        given: &'static str,
        /// A flag.
        missing: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing is encrypted.
    #[error("--allow-plaintext is given without a certificate; leave it out, or give --peer-cert")]
    NothingToAllow,
    /// The name stands in the nodes' certificates.
    #[error(
        "--cluster-name '{0}' cannot stand in a certificate, as --peer-cert needs it; choose one of \
         letters, digits, '.', '-' and '_'"
    )]
    ClusterName(String),
}

/// The files of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortFiles<'a> {
    pub(crate) cert: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) ca: Option<&'a Path>,
}

const TOGETHER: &str = "the two belong together";
const PASSED_ON: &str =
    "nodes pass the requests of clients on to each other, which must not be readable either";

impl TlsOptions {
    /// Everything that does not go together, for a cluster of this name.
    #[must_use]
    pub fn problems(&self, cluster_name: &str) -> Vec<TlsOptionsError> {
        let pairs = [
            ("--client-cert", &self.client_cert, "--client-key", &self.client_key, TOGETHER),
            ("--client-key", &self.client_key, "--client-cert", &self.client_cert, TOGETHER),
            ("--client-ca", &self.client_ca, "--client-cert", &self.client_cert, TOGETHER),
            ("--client-cert", &self.client_cert, "--peer-cert", &self.peer_cert, PASSED_ON),
            ("--peer-cert", &self.peer_cert, "--peer-key", &self.peer_key, TOGETHER),
            ("--peer-key", &self.peer_key, "--peer-cert", &self.peer_cert, TOGETHER),
            ("--peer-cert", &self.peer_cert, "--peer-ca", &self.peer_ca, "nodes verify each other"),
            ("--peer-ca", &self.peer_ca, "--peer-cert", &self.peer_cert, "nodes verify each other"),
            ("--http-cert", &self.http_cert, "--http-key", &self.http_key, TOGETHER),
            ("--http-key", &self.http_key, "--http-cert", &self.http_cert, TOGETHER),
        ];
        let incomplete =
            pairs.into_iter().filter(|(_, given, _, needed, _)| given.is_some() && needed.is_none());
        let incomplete = incomplete.map(|(given, _, missing, _, advice)| TlsOptionsError::Incomplete {
            given,
            missing,
            advice,
        });
        let mut problems: Vec<_> = incomplete.collect();
        if self.allow_plaintext && self.peer_cert.is_none() && self.http_cert.is_none() {
            problems.push(TlsOptionsError::NothingToAllow);
        }
        if self.peer_cert.is_some() && !stands_in_a_uri(cluster_name) {
            problems.push(TlsOptionsError::ClusterName(cluster_name.to_owned()));
        }
        problems
    }

    pub(crate) fn client(&self) -> Option<PortFiles<'_>> {
        port(&self.client_cert, &self.client_key, &self.client_ca)
    }

    pub(crate) fn peer(&self) -> Option<PortFiles<'_>> {
        port(&self.peer_cert, &self.peer_key, &self.peer_ca)
    }

    pub(crate) fn http(&self) -> Option<PortFiles<'_>> {
        port(&self.http_cert, &self.http_key, &None)
    }
}

fn port<'a>(
    cert: &'a Option<PathBuf>,
    key: &'a Option<PathBuf>,
    ca: &'a Option<PathBuf>,
) -> Option<PortFiles<'a>> {
    Some(PortFiles { cert: cert.as_deref()?, key: key.as_deref()?, ca: ca.as_deref() })
}

pub(crate) fn stands_in_a_uri(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_named() {
        let file = || Some(PathBuf::from("f"));
        let said = |options: &TlsOptions, name| {
            let problems = options.problems(name).into_iter().map(|problem| problem.to_string());
            problems.collect::<Vec<_>>().join("\n")
        };
        let peer =
            TlsOptions { peer_cert: file(), peer_key: file(), peer_ca: file(), ..TlsOptions::default() };
        assert_eq!(said(&TlsOptions::default(), "a b"), "");
        assert_eq!(said(&peer, "kv-1.a_b"), "");
        assert!(said(&peer, "a b").contains("--cluster-name 'a b'"));
        for (options, parts) in [
            (TlsOptions { client_cert: file(), ..peer.clone() }, &["--client-cert", "--client-key"][..]),
            (
                TlsOptions { client_cert: file(), client_key: file(), ..TlsOptions::default() },
                &["--peer-cert", "pass the requests"],
            ),
            (TlsOptions { client_ca: file(), ..peer.clone() }, &["--client-ca", "--client-cert"]),
            (TlsOptions { peer_ca: None, ..peer.clone() }, &["--peer-ca"]),
            (TlsOptions { http_key: file(), ..TlsOptions::default() }, &["--http-cert"]),
            (TlsOptions { allow_plaintext: true, ..TlsOptions::default() }, &["--allow-plaintext"]),
        ] {
            let said = said(&options, "kv");
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }
}
