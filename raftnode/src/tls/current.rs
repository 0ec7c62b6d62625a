//! What the files say now, as rustls takes it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};

use super::error::explain;
use super::files::{Flags, Material, read};
use super::shared::Port;
use super::verifier::{Connecting, Dialled, Nodes, clients};
use super::{NodeName, TlsError};
use crate::config::{PortFiles, TlsOptions};
use crate::raft::NodeId;

/// A node that dials another asks for this host, on whichever port: the certificate that it is
/// shown is that for nodes, also on the port for clients.
pub(super) const NODE_HOST: &str = "node.raftnode";

const CLIENT: Flags = Flags { cert: "--client-cert", key: "--client-key", ca: "--client-ca" };
const PEER: Flags = Flags { cert: "--peer-cert", key: "--peer-key", ca: "--peer-ca" };
const HTTP: Flags = Flags { cert: "--http-cert", key: "--http-key", ca: "" };

/// Configurations made of one state of the files.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) client: Option<Arc<ServerConfig>>,
    pub(super) peer: Option<Arc<ServerConfig>>,
    pub(super) http: Option<Arc<ServerConfig>>,
    /// For dialling.
    pub(super) node: Option<Arc<NodeKey>>,
    /// Until when the certificates are valid, in seconds since 1970.
    pub(super) expiry: Vec<(Port, i64)>,
    /// What the files held.
    read: Vec<(PathBuf, Option<Vec<u8>>)>,
}

/// By what this node proves itself to others, and they to it.
#[derive(Debug)]
pub(super) struct NodeKey {
    key: Arc<CertifiedKey>,
    pub(super) nodes: Arc<Nodes>,
    provider: Arc<CryptoProvider>,
}

impl Current {
    /// # Errors
    /// The first file that cannot be used.
    pub(super) fn read(options: &TlsOptions, own: &NodeName) -> Result<Self, TlsError> {
        // First, so that a change while the files are read is seen later.
        let read = contents(options);
        let provider = Arc::new(ring::default_provider());
        let peer = options.peer().map(|files| node_key(files, own, &provider)).transpose()?;
        let http = options.http().map(|files| Material::read(files, HTTP)).transpose()?;
        let client = options.client().map(|files| Material::read(files, CLIENT)).transpose()?;
        let node = peer.as_ref().map(|(node, _)| node);
        let expiry = [
            client.as_ref().map(|material| (Port::Client, material.not_after_unix_seconds)),
            peer.as_ref().map(|(_, not_after)| (Port::Peer, *not_after)),
            http.as_ref().map(|material| (Port::Http, material.not_after_unix_seconds)),
        ];
        Ok(Self {
            client: node.map(|node| client_port(node, client, options)).transpose()?,
            peer: node.map(peer_port).transpose()?,
            http: http.map(|material| http_port(material, &provider)).transpose()?,
            expiry: expiry.into_iter().flatten().collect(),
            node: peer.map(|(node, _)| node),
            read,
        })
    }

    /// Whether the files hold what they held then.
    pub(super) fn is_current(&self, options: &TlsOptions) -> bool {
        self.read == contents(options)
    }
}

/// A file that cannot be read is one state of it.
fn contents(options: &TlsOptions) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let ports = [options.client(), options.peer(), options.http()];
    let files = ports.into_iter().flatten().flat_map(|port| [Some(port.cert), Some(port.key), port.ca]);
    files.flatten().map(|file| (file.to_owned(), read(file).ok())).collect()
}

impl NodeKey {
    /// The configuration of a connection to this node of the cluster; none: to any of its nodes.
    ///
    /// # Errors
    /// rustls lacks TLS 1.3, which would be a mistake in this crate.
    pub(super) fn to(&self, wanted: Option<NodeId>) -> Result<Arc<ClientConfig>, Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let verifier = Dialled { nodes: Arc::clone(&self.nodes), wanted };
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&self.key))));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would be one with a certificate that was verified long ago.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn node_key(
    files: PortFiles<'_>,
    own: &NodeName,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<NodeKey>, i64), TlsError> {
    let material = Material::read(files, PEER)?;
    if material.leaf.node() != Some(own) {
        let found =
            material.leaf.node().map_or_else(|| "no node, or of several".to_owned(), NodeName::to_string);
        return Err(TlsError::NotThisNode { cert: files.cert.to_owned(), found, own: own.to_string() });
    }
    let roots = material.roots.unwrap_or_else(|| Arc::new(RootCertStore::empty()));
    let nodes =
        Nodes::new(&own.cluster, roots, Arc::clone(provider)).map_err(|problem| TlsError::Unusable {
            file: files.ca.unwrap_or(files.cert).to_owned(),
            flag: PEER.ca,
            problem,
            advice: "give the CAs of the nodes' certificates",
        })?;
    believed(&nodes, &material.key, files)?;
    let node = NodeKey { key: material.key, nodes: Arc::new(nodes), provider: Arc::clone(provider) };
    Ok((Arc::new(node), material.not_after_unix_seconds))
}

/// Whether the other nodes, which should have the same CAs, will believe this one's certificate.
/// One that has expired is replaced while the node runs.
fn believed(nodes: &Nodes, key: &CertifiedKey, files: PortFiles<'_>) -> Result<(), TlsError> {
    let Some((leaf, intermediates)) = key.cert.split_first() else { return Ok(()) };
    match nodes.vouch(leaf, intermediates, UnixTime::now()) {
        Ok(())
        | Err(Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => Ok(()),
        Err(e) => Err(TlsError::Untrusted {
            cert: files.cert.to_owned(),
            ca: files.ca.unwrap_or(files.cert).to_owned(),
            reason: explain(&e),
        }),
    }
}

/// Shows nodes the certificate for nodes, and clients theirs, if there is one.
#[derive(Debug)]
struct ByHost {
    nodes: Arc<CertifiedKey>,
    clients: Option<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            Some(NODE_HOST) => Some(Arc::clone(&self.nodes)),
            _ => self.clients.clone(),
        }
    }
}

fn client_port(
    node: &Arc<NodeKey>,
    material: Option<Material>,
    options: &TlsOptions,
) -> Result<Arc<ServerConfig>, TlsError> {
    let roots = material.as_ref().and_then(|material| material.roots.as_ref());
    let demanded = roots.map(|roots| clients(roots, &node.provider)).transpose();
    let demanded = demanded.map_err(|problem| TlsError::Unusable {
        file: options.client_ca.clone().unwrap_or_default(),
        flag: CLIENT.ca,
        problem,
        advice: "give the CAs of the clients' certificates",
    })?;
    let verifier = Connecting::clients(Arc::clone(&node.nodes), demanded);
    let keys = ByHost { nodes: Arc::clone(&node.key), clients: material.map(|material| material.key) };
    server(&node.provider, Arc::new(verifier), Arc::new(keys), b"h2")
}

fn peer_port(node: &Arc<NodeKey>) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = Connecting::peers(Arc::clone(&node.nodes));
    let key = SingleCertAndKey::from(Arc::clone(&node.key));
    server(&node.provider, Arc::new(verifier), Arc::new(key), b"h2")
}

fn http_port(material: Material, provider: &Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, TlsError> {
    let key = SingleCertAndKey::from(material.key);
    server(provider, WebPkiClientVerifier::no_client_auth(), Arc::new(key), b"http/1.1")
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    keys: Arc<dyn ResolvesServerCert>,
    protocol: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder =
        builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(|e| TlsError::Unusable {
            file: PathBuf::new(),
            flag: "TLS 1.3",
            problem: e.to_string(),
            advice: "this is a mistake in the program",
        })?;
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(keys);
    config.alpn_protocols = vec![protocol.to_vec()];
    // No resumption: each connection is verified by the CAs and at the time of its handshake.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
