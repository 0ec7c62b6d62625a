//! Whose certificates are accepted.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::certificate::Certificate;
use crate::raft::NodeId;

/// A certificate that a CA of the nodes has signed, and that is not of the node that it should be
/// of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongNode {
    /// Of none.
    #[error("its certificate names no node, or several; it needs one name raft://{cluster}/node/ID")]
    NoNode { cluster: String },
    /// Of another cluster.
    #[error(
        "its certificate is of {found}, and this is cluster '{cluster}'; correct the peer list, the address or --cluster-name"
    )]
    Cluster { found: String, cluster: String },
    /// Of another node.
    #[error(
        "its certificate is of node {found}, and node {wanted} was dialled; correct the address in the membership, or the certificate"
    )]
    Node { found: NodeId, wanted: NodeId },
}

impl From<WrongNode> for Error {
    fn from(wrong: WrongNode) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(wrong))))
    }
}

/// Verifies the certificates of the nodes of one cluster: signed by one of its CAs, and with the
/// name of one node of this cluster.
#[derive(Debug)]
pub(super) struct Nodes {
    cluster: String,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    /// As clients.
    as_clients: Arc<dyn ClientCertVerifier>,
}

impl Nodes {
    /// # Errors
    /// There is no CA.
    pub(super) fn new(
        cluster: &str,
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let as_clients = clients(&roots, &provider)?;
        Ok(Self { cluster: cluster.to_owned(), roots, provider, as_clients })
    }

    /// Which node of the cluster a certificate is of whose signature is verified.
    pub(super) fn node_of(&self, leaf: &CertificateDer<'_>) -> Result<NodeId, Error> {
        let certificate = Certificate::read(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let cluster = self.cluster.clone();
        match certificate.node() {
            None => Err(WrongNode::NoNode { cluster }.into()),
            Some(node) if node.cluster != self.cluster => {
                Err(WrongNode::Cluster { found: node.to_string(), cluster }.into())
            }
            Some(node) => Ok(node.id),
        }
    }

    /// Whether the CAs vouch for a chain, as one of a server.
    pub(super) fn vouch(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)
    }
}

/// Verifies certificates that these CAs have signed, whatever names they have.
pub(super) fn clients(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider)).build();
    verifier.map_err(|e| e.to_string())
}

/// Verifies the node that was dialled. Host names do not count.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) nodes: Arc<Nodes>,
    /// None: any node of the cluster.
    pub(super) wanted: Option<NodeId>,
}

impl ServerCertVerifier for Dialled {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.nodes.vouch(end_entity, intermediates, now)?;
        let found = self.nodes.node_of(end_entity)?;
        match self.wanted.filter(|wanted| *wanted != found) {
            Some(wanted) => Err(WrongNode::Node { found, wanted }.into()),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.nodes.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.nodes.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies what connects to a port: a node of the cluster, or a client where the port has any.
#[derive(Debug)]
pub(super) struct Connecting {
    nodes: Arc<Nodes>,
    /// None: clients need no certificate, and only those of nodes are accepted.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    is_demanded: bool,
}

impl Connecting {
    /// To the port for peers.
    pub(super) fn peers(nodes: Arc<Nodes>) -> Self {
        let hints = nodes.as_clients.root_hint_subjects().to_vec();
        Self { nodes, clients: None, hints, is_demanded: true }
    }

    /// To the port for clients.
    pub(super) fn clients(nodes: Arc<Nodes>, clients: Option<Arc<dyn ClientCertVerifier>>) -> Self {
        let ours = clients.iter().flat_map(|clients| clients.root_hint_subjects());
        let hints = ours.chain(nodes.as_clients.root_hint_subjects()).cloned().collect();
        let is_demanded = clients.is_some();
        Self { nodes, clients, hints, is_demanded }
    }

    fn verify_node(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.nodes.as_clients.verify_client_cert(end_entity, intermediates, now)?;
        self.nodes.node_of(end_entity).map(|_| verified)
    }
}

impl ClientCertVerifier for Connecting {
    fn client_auth_mandatory(&self) -> bool {
        self.is_demanded
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match (self.verify_node(end_entity, intermediates, now), &self.clients) {
            (Err(_), Some(clients)) => clients.verify_client_cert(end_entity, intermediates, now),
            (verified, _) => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.as_clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.as_clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.as_clients.supported_verify_schemes()
    }
}
