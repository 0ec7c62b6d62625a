//! The files of one port, read and understood.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::TlsError;
use super::certificate::Certificate;
use crate::config::PortFiles;

/// Largest file that is read: a bundle of CAs has some ten thousand bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most certificates in one file.
const MAX_CERTIFICATES: usize = 256;

/// The options that name the files, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    pub(super) cert: &'static str,
    pub(super) key: &'static str,
    pub(super) ca: &'static str,
}

/// What the files of one port hold.
#[derive(Debug)]
pub(super) struct Material {
    /// The port's own certificate, its chain and its key.
    pub(super) key: Arc<CertifiedKey>,
    /// What the certificate itself says.
    pub(super) leaf: Certificate,
    /// The first end of validity in the chain, in seconds since 1970.
    pub(super) not_after_unix_seconds: i64,
    /// The CAs that others' certificates are verified by.
    pub(super) roots: Option<Arc<RootCertStore>>,
}

impl Material {
    pub(super) fn read(files: PortFiles<'_>, flags: Flags) -> Result<Self, TlsError> {
        let chain = certificates(files.cert, flags.cert)?;
        let told = chain.iter().map(Certificate::read).collect::<Result<Vec<_>, _>>();
        let told = told.map_err(|e| unusable(files.cert, flags.cert, e.to_string(), GIVE_PEM))?;
        let not_after = told.iter().map(|certificate| certificate.not_after_unix_seconds).min();
        let (Some(leaf), Some(not_after_unix_seconds)) = (told.into_iter().next(), not_after) else {
            return Err(unusable(files.cert, flags.cert, "has no certificate".to_owned(), GIVE_PEM));
        };
        let key = certified(chain, files, flags)?;
        let roots = files.ca.map(|ca| roots(ca, flags.ca)).transpose()?;
        Ok(Self { key: Arc::new(key), leaf, not_after_unix_seconds, roots })
    }
}

const GIVE_PEM: &str = "give a file in PEM with lines BEGIN CERTIFICATE and END CERTIFICATE";
const GIVE_KEY: &str =
    "give an unencrypted key in PEM: ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits and more";

/// The bytes of a file.
pub(super) fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(io::Error::other(format!("more than {MAX_FILE_BYTES} bytes"))),
        false => Ok(bytes),
    }
}

fn read_as(file: &Path, flag: &'static str) -> Result<Vec<u8>, TlsError> {
    read(file).map_err(|source| TlsError::Read { file: file.to_owned(), flag, source })
}

fn unusable(file: &Path, flag: &'static str, problem: String, advice: &'static str) -> TlsError {
    TlsError::Unusable { file: file.to_owned(), flag, problem, advice }
}

fn certificates(file: &Path, flag: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_as(file, flag)?;
    let found =
        CertificateDer::pem_slice_iter(&bytes).take(MAX_CERTIFICATES + 1).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|e| unusable(file, flag, format!("is not PEM: {e}"), GIVE_PEM))?;
    match found.len() {
        0 => Err(unusable(file, flag, "has no certificate".to_owned(), GIVE_PEM)),
        1..=MAX_CERTIFICATES => Ok(found),
        _ => Err(unusable(file, flag, format!("has more than {MAX_CERTIFICATES} certificates"), GIVE_PEM)),
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    files: PortFiles<'_>,
    flags: Flags,
) -> Result<CertifiedKey, TlsError> {
    let bytes = read_as(files.key, flags.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|e| unusable(files.key, flags.key, format!("has no key: {e}"), GIVE_KEY))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|e| match e {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::KeyOfAnother { key: files.key.to_owned(), cert: files.cert.to_owned() }
        }
        e => unusable(files.key, flags.key, format!("has a key that cannot be used: {e}"), GIVE_KEY),
    })
}

fn roots(file: &Path, flag: &'static str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, flag)? {
        roots
            .add(certificate)
            .map_err(|e| unusable(file, flag, format!("has a CA that cannot be used: {e}"), GIVE_PEM))?;
    }
    Ok(Arc::new(roots))
}
