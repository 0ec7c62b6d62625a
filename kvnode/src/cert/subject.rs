//! Whom a certificate is of.

use anyhow::{Context as _, bail};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, SanType};

/// What stands in a certificate besides its key and its time.
#[derive(Debug)]
pub(super) struct Subject {
    name: String,
    hosts: Vec<String>,
    uri: Option<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
}

impl Subject {
    /// A node, which others reach at these hosts: it connects to others and is connected to.
    pub(super) fn node(cluster_name: &str, id: u64, hosts: &[String]) -> anyhow::Result<Self> {
        let uri = raftnode::tls::node_name(cluster_name, id)?;
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Self {
            name: format!("node {id} of {cluster_name}"),
            hosts: hosts.to_vec(),
            uri: Some(uri),
            usages,
        })
    }

    /// A client of this name.
    pub(super) fn client(name: &str) -> anyhow::Result<Self> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'@' | b'.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.bytes().all(is_plain) {
            bail!("--name '{name}' cannot be used; choose 1 to 64 letters, digits, '-', '_', '@' and '.'");
        }
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Self { name: name.to_owned(), hosts: Vec::new(), uri: None, usages })
    }

    pub(super) fn params(&self) -> anyhow::Result<CertificateParams> {
        let mut params =
            CertificateParams::new(self.hosts.clone()).context("a --host is no host name or IP address")?;
        if let Some(uri) = &self.uri {
            params
                .subject_alt_names
                .push(SanType::URI(uri.as_str().try_into().context("the name of the node")?));
        }
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        params.extended_key_usages.clone_from(&self.usages);
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}
