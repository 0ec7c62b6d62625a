//! The certificates of a playground with `--tls`: all in one directory, made once.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::cert;

/// Whose names stand in the certificates.
pub(super) const CLUSTER_NAME: &str = "playground";

pub(super) fn directory(dir: &Path) -> PathBuf {
    dir.join("certificates")
}

/// Makes what is missing.
pub(super) fn make(dir: &Path, nodes: usize) -> anyhow::Result<()> {
    cert::local_cluster(&directory(dir), CLUSTER_NAME, nodes)
}

/// The options of node `id`.
pub(super) fn flags(dir: &Path, id: usize) -> Vec<(&'static str, PathBuf)> {
    let file = |name: &str| directory(dir).join(name);
    let (cert, key) = (format!("node-{id}.pem"), format!("node-{id}-key.pem"));
    vec![
        ("--peer-cert", file(&cert)),
        ("--peer-key", file(&key)),
        ("--peer-ca", file("ca.pem")),
        ("--client-cert", file(&cert)),
        ("--client-key", file(&key)),
        ("--client-ca", file("ca.pem")),
        ("--http-cert", file(&cert)),
        ("--http-key", file(&key)),
    ]
}

/// How this program reaches the nodes.
pub(super) fn client(dir: &Path) -> anyhow::Result<ClientTlsConfig> {
    let read = |name: &str| {
        let path = directory(dir).join(name);
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let identity = Identity::from_pem(read("client-you.pem")?, read("client-you-key.pem")?);
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.pem")?)).identity(identity))
}

/// What `kvcli` has to be told.
pub(super) fn exports(dir: &Path) -> Vec<String> {
    let file = |name: &str| directory(dir).join(name).display().to_string();
    vec![
        format!("export KVCLI_CACERT={}", file("ca.pem")),
        format!("export KVCLI_CERT={} KVCLI_KEY={}", file("client-you.pem"), file("client-you-key.pem")),
    ]
}
