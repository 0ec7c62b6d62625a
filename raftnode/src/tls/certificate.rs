//! What a certificate says.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::NodeName;

/// What rustls does not tell of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The last second in which it is valid, since 1970.
    pub(super) not_after_unix_seconds: i64,
    /// The nodes that it is of: one, if it is of any.
    nodes: Vec<NodeName>,
}

/// The bytes are no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate: {0}")]
pub(super) struct NotACertificate(String);

impl Certificate {
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, NotACertificate> {
        let unreadable = |e: &dyn std::fmt::Display| NotACertificate(e.to_string());
        let (_, certificate) = parse_x509_certificate(der).map_err(|e| unreadable(&e))?;
        let names = certificate.subject_alternative_name().map_err(|e| unreadable(&e))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let uris = names.filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
        Ok(Self {
            not_after_unix_seconds: certificate.validity().not_after.timestamp(),
            nodes: uris.filter_map(|uri| uri.parse().ok()).collect(),
        })
    }

    /// The node that it is of. A certificate of several nodes is of none: its holder could be any
    /// of them.
    pub(super) fn node(&self) -> Option<&NodeName> {
        match &self.nodes[..] {
            [node] => Some(node),
            _ => None,
        }
    }
}
