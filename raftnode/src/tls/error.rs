//! What is wrong with certificates and keys, and what to do about it.

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error};

use crate::config::TlsOptionsError;

/// Certificates and keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The options do not go together.
    #[error(transparent)]
    Options(#[from] TlsOptionsError),
    /// A file cannot be read.
    #[error("cannot read {} ({flag}): {source}; the user that runs this program must be able to", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The option that names it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} ({flag}) {problem}; {advice}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// The option that names it.
        flag: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// Two files do not belong together.
    #[error("the key in {} is not that of the certificate in {}; give the two that were made together", key.display(), cert.display())]
    KeyOfAnother {
        /// The key.
        key: PathBuf,
        /// The certificate.
        cert: PathBuf,
    },
    /// The certificate of a node is not of this node.
    #[error("the certificate in {} is of {found}, and this node is {own}; give it a certificate with the name {own}", cert.display())]
    NotThisNode {
        /// The certificate.
        cert: PathBuf,
        /// Whom it is of.
        found: String,
        /// This node's name.
        own: String,
    },
    /// The other nodes would not believe the certificate.
    #[error("the certificate in {} is not signed by a CA in {}: {reason}; give one that is, or add its CA to that file", cert.display(), ca.display())]
    Untrusted {
        /// The certificate.
        cert: PathBuf,
        /// The CAs.
        ca: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Why a handshake failed, for a person: what is wrong and on which side it is mended.
pub(super) fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => explain(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the other side closed the connection during the handshake".to_owned()
        }
        None => error.to_string(),
    }
}

/// The same of an error of rustls.
pub(super) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is not signed by a CA that this side trusts; add the CA here, or give the other side \
             another certificate"
                .to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("its certificate has expired; renew it there ({error})")
        }
        Error::InvalidCertificate(CertificateError::Other(other)) => other.to_string(),
        Error::NoCertificatesPresented => "it has shown no certificate, and must; give it one".to_owned(),
        Error::AlertReceived(alert) => format!("the other side refuses this one: {}", alerted(*alert)),
        Error::InvalidMessage(_) => "the other side does not speak TLS".to_owned(),
        error => error.to_string(),
    }
}

fn alerted(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it does not trust the CA of the certificate shown; add that CA there, or use another certificate here"
        }
        AlertDescription::CertificateRequired => "it demands a certificate; give one here",
        AlertDescription::CertificateExpired => "the certificate shown has expired; renew it here",
        AlertDescription::CertificateUnknown => {
            "the certificate shown is not of a node of its cluster, or of another node; its log says more"
        }
        AlertDescription::AccessDenied => "it has no certificate for this kind of connection; its log says more",
        alert => return format!("{alert:?}"),
    }
    .to_owned()
}
