//! What a certificate says.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::NodeName;

/// Longest name by which a principal is known.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// What rustls does not tell of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The last second in which it is valid, since 1970.
    pub(super) not_after_unix_seconds: i64,
    /// By which a principal is known: the common name of the subject, or if it has none, the first
    /// DNS name or URI among the alternative names. None: it has neither, or several common names,
    /// or the name is empty or too long.
    pub(super) name: Option<String>,
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
        let name = principal_name(&certificate, names.clone());
        let uris = names.filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
        Ok(Self {
            not_after_unix_seconds: certificate.validity().not_after.timestamp(),
            name,
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

/// See [`Certificate::name`].
fn principal_name<'a>(
    certificate: &X509Certificate<'_>,
    mut alternatives: impl Iterator<Item = &'a GeneralName<'a>>,
) -> Option<String> {
    let mut common = certificate.subject().iter_common_name();
    let name = match (common.next(), common.next()) {
        (Some(name), None) => name.as_str().ok()?.to_owned(),
        (Some(_), Some(_)) => return None,
        (None, _) => alternatives.find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        })?,
    };
    (1..=MAX_NAME_BYTES).contains(&name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn name(common: Option<&str>, alternatives: Vec<SanType>) -> Option<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = alternatives;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::read(certificate.der()).unwrap().name
    }

    #[test]
    fn a_principal_is_known_by_its_common_name_or_the_first_alternative() {
        let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        assert_eq!(name(Some("alice"), vec![dns("a.example")]).as_deref(), Some("alice"));
        assert_eq!(name(None, vec![dns("a.example"), uri("x:y")]).as_deref(), Some("a.example"));
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(name(None, vec![address, uri("x:y"), dns("a.example")]).as_deref(), Some("x:y"));
        assert_eq!(name(None, vec![]), None);
        assert_eq!(name(Some(""), vec![dns("a.example")]), None);
        assert_eq!(name(Some(&"a".repeat(MAX_NAME_BYTES + 1)), vec![]), None);
    }
}
