//! The CA: its own certificate, and those that it signs. Keys are ECDSA P-256.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

use super::subject::Subject;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clocks differ: a certificate is valid from so long before it is made.
const BEFORE: Duration = Duration::from_secs(3600);

/// A new CA, in PEM.
pub(super) struct Authority {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn create(name: &str, days: u32) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("{name} CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid_for(&mut params, days);
        let certificate = params.self_signed(&key).context("cannot sign the CA")?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A certificate that the CA (in PEM) signs, and its new key.
pub(super) fn issue(
    ca: &str,
    ca_key: &str,
    subject: &Subject,
    days: u32,
) -> anyhow::Result<(String, String)> {
    let ca_key = KeyPair::from_pem(ca_key).context("the key of the CA cannot be read")?;
    let issuer = Issuer::from_ca_cert_pem(ca, ca_key).context("the certificate of the CA cannot be read")?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")?;
    let mut params = subject.params()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    valid_for(&mut params, days);
    let certificate = params.signed_by(&key, &issuer).context("cannot sign")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + DAY * days).into();
}
