//! Reaching other nodes, on either port.

use std::io;
use std::sync::Arc;

use network_grpc::{Connecting, Connector, Dial, PeerStream};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use super::current::NODE_HOST;
use super::{Tls, reason};
use crate::raft::NodeId;

/// Makes connections to other nodes: with TLS if this node has a certificate for it. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub(crate) struct Dialler(Tls);

impl Dialler {
    pub(crate) fn new(tls: Tls) -> Self {
        Self(tls)
    }

    /// Connects to the node at `address`, which must be `to` if that is given and this node has
    /// TLS.
    ///
    /// # Errors
    /// Nothing answers, or another node.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        to: Option<NodeId>,
        address: &str,
    ) -> Result<Channel, tonic::transport::Error> {
        match self.way(to, address) {
            None => endpoint.connect().await,
            Some(dial) => endpoint.connect_with_connector(dial).await,
        }
    }

    /// The same, when the first request is made.
    pub(crate) fn connect_lazy(&self, endpoint: &Endpoint, to: NodeId, address: &str) -> Channel {
        match self.way(Some(to), address) {
            None => endpoint.connect_lazy(),
            Some(dial) => endpoint.connect_with_connector_lazy(dial),
        }
    }

    /// For the network of consensus; none: TCP will do.
    pub(crate) fn connector(&self) -> Option<Arc<dyn Connector<NodeId>>> {
        self.has_tls().then(|| Arc::new(self.clone()) as Arc<dyn Connector<NodeId>>)
    }

    /// The certificates that it uses, and those of the listeners.
    pub(crate) fn tls(&self) -> &Tls {
        &self.0
    }

    fn has_tls(&self) -> bool {
        self.0.current().node.is_some()
    }

    fn way(&self, to: Option<NodeId>, address: &str) -> Option<Dial> {
        self.has_tls().then(|| dial(&self.0, to, address))
    }
}

impl Connector<NodeId> for Dialler {
    fn dial(&self, target: &NodeId, address: &str) -> Dial {
        dial(&self.0, Some(*target), address)
    }
}

fn dial(tls: &Tls, to: Option<NodeId>, address: &str) -> Dial {
    let (tls, address) = (tls.clone(), address.to_owned());
    Dial::new(move || -> Connecting {
        let (tls, address) = (tls.clone(), address.clone());
        Box::pin(async move { connect(&tls, to, &address).await })
    })
}

async fn connect(tls: &Tls, to: Option<NodeId>, address: &str) -> io::Result<Box<dyn PeerStream>> {
    match secured(tls, to, address).await {
        Ok(stream) => Ok(stream),
        Err(e) if tls.allows_plaintext() && speaks_no_tls(&e) => Ok(Box::new(reached(address).await?)),
        Err(e) if is_of_tls(&e) => {
            Err(io::Error::other(format!("no TLS connection with {address}: {}", reason(&e))))
        }
        Err(e) => Err(e),
    }
}

async fn secured(tls: &Tls, to: Option<NodeId>, address: &str) -> io::Result<Box<dyn PeerStream>> {
    let key = tls.current().node.clone().ok_or_else(|| io::Error::other("this node has no certificate"))?;
    let config = key.to(to).map_err(io::Error::other)?;
    let host = ServerName::try_from(NODE_HOST).map_err(io::Error::other)?;
    let stream = reached(address).await?;
    Ok(Box::new(TlsConnector::from(config).connect(host, stream).await?))
}

async fn reached(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// rustls, and not the network, is the source.
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
        || error.kind() == io::ErrorKind::UnexpectedEof
}

/// What answers has not begun to speak TLS: its words are no record of it, or it hung up. (An
/// alert, or a certificate that is refused, is TLS.)
fn speaks_no_tls(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(error) => matches!(error, rustls::Error::InvalidMessage(_)),
        None => matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof),
    }
}
