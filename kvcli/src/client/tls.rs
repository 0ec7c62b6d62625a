//! Encrypted connections: which nodes are believed, and by what this client proves itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::Status;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{ClientError, Endpoint};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Files in PEM. They are read again for each new connection, so that what has changed is used
/// without a restart.
///
/// A node's certificate must have the host of its endpoint among its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The CAs that nodes are verified by.
    pub ca: PathBuf,
    /// The certificate chain and the key of this client, where nodes demand one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A file for TLS cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadFile {
    path: PathBuf,
    problem: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl ClientTls {
    /// Whether the files can be used now.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        self.read().map(drop).map_err(|bad| ClientError::BadTlsFile { path: bad.path, problem: bad.problem })
    }

    /// What the files hold, for a connection to a node. Blocks on the disk.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Result<ClientTlsConfig, BadFile> {
        Ok(self.read()?.domain_name(endpoint.host()))
    }

    fn read(&self) -> Result<ClientTlsConfig, BadFile> {
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificates(&self.ca)?));
        let Some((certificate, key)) = &self.identity else { return Ok(config) };
        let (chain, secret) = (certificates(certificate)?, read(key)?);
        if PrivateKeyDer::from_pem_slice(&secret).is_err() {
            return Err(bad(key, "holds no key; give one in PEM, unencrypted"));
        }
        Ok(config.identity(Identity::from_pem(chain, secret)))
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, BadFile> {
    let bytes = read(path)?;
    let mut found = CertificateDer::pem_slice_iter(&bytes);
    match found.next() {
        Some(Ok(_)) if found.all(|more| more.is_ok()) => Ok(bytes),
        _ => Err(bad(path, "holds no certificate, or a damaged one; give one in PEM")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| bad(path, &format!("cannot be read: {e}")))?;
    match read as u64 > MAX_FILE_BYTES {
        true => Err(bad(path, "is larger than 1 MiB, and no certificate")),
        false => Ok(bytes),
    }
}

fn bad(path: &Path, problem: &str) -> BadFile {
    BadFile { path: path.to_owned(), problem: problem.to_owned() }
}

/// What a person can do about a failure of TLS, if this is one.
pub(super) fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let found = chain(error).find_map(|error| {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.and_then(|inside| inside.downcast_ref::<rustls::Error>())
    });
    // What a node makes of this client's certificate comes after the handshake, and h2 passes on
    // nothing but the words.
    found
        .and_then(of_handshake)
        .or_else(|| chain(error).find_map(|error| of_refusal(&error.to_string())))
        .or_else(|| chain(error).any(|error| error.is::<Unproven>()).then_some(PROVE_YOURSELF))
}

const PROVE_YOURSELF: &str = "if the node demands a certificate, give --cert and --key";

/// A connection was lost over which this client has not proved itself. A node that demands a
/// certificate says so after the handshake, and the client may meet the end of the connection
/// before it reads that.
#[derive(Debug, thiserror::Error)]
#[error("connection lost")]
struct Unproven(#[source] Status);

impl ClientTls {
    /// What became of a request over a connection with these files.
    pub(super) fn judged(&self, status: Status) -> Status {
        if self.identity.is_some() || std::error::Error::source(&status).is_none() {
            return status;
        }
        let mut judged = Status::new(status.code(), status.message());
        judged.set_source(Arc::new(Unproven(status)));
        judged
    }
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn of_handshake(error: &rustls::Error) -> Option<&'static str> {
    use rustls::{CertificateError as Bad, Error};
    Some(match error {
        Error::InvalidMessage(_) => {
            "the node does not speak TLS there; leave --cacert out, or give the node a certificate"
        }
        Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "the node's certificate is not signed by a CA in --cacert; add its CA to that file"
        }
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the node's certificate has expired; renew it on the node"
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "the node's certificate does not have the host of this endpoint; use a host that it has, or give the node \
             one with this host"
        }
        _ => return None,
    })
}

/// The words of rustls for an alert.
fn of_refusal(text: &str) -> Option<&'static str> {
    Some(match text.split_once("received fatal alert: ")?.1 {
        "CertificateRequired" => "the node demands a certificate; give --cert and --key",
        "UnknownCA" | "DecryptError" => {
            "the node does not trust the CA of --cert; use a certificate of a CA in the node's --client-ca"
        }
        "CertificateExpired" => "the certificate in --cert has expired; renew it",
        "HandshakeFailure" | "AccessDenied" => {
            "the node has no certificate for clients; leave --cacert out, or give the node --client-cert"
        }
        _ => return None,
    })
}
