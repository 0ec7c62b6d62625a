//! The accepting side of a handshake.

use std::time::Duration;

use rustls::server::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use std::sync::Arc;

use super::certificate::Certificate;
use super::{Port, Tls, reason};
use crate::raft::NodeId;

/// From the connection to the end of the handshake; a connection that takes longer is closed.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a side that is refused may take to read why.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// What is read of it meanwhile.
const LINGER_BYTES: u64 = 64 * 1024;
/// TLS begins with a record of this type. HTTP begins with a letter.
pub(crate) const FIRST_BYTE_OF_TLS: u8 = 0x16;

/// TLS on one port, with the certificates that are current at each handshake. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PortTls {
    tls: Tls,
    port: Port,
    /// Connections without TLS are accepted as well.
    pub(crate) allows_plaintext: bool,
}

/// What the other side has proved by its certificate.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    /// Which node it is, on the port for peers.
    pub(crate) node: Option<NodeId>,
    /// The name in it, on the port for clients.
    pub(crate) certificate: Option<Arc<str>>,
}

impl PortTls {
    pub(super) fn new(tls: Tls, port: Port, allows_plaintext: bool) -> Self {
        Self { tls, port, allows_plaintext }
    }

    fn config(&self) -> Option<Arc<ServerConfig>> {
        let current = self.tls.current();
        match self.port {
            Port::Client => current.client.clone(),
            Port::Peer => current.peer.clone(),
            Port::Http => current.http.clone(),
        }
    }

    /// The handshake, and with whom it was.
    ///
    /// # Errors
    /// Why there is no connection, for a person on this side.
    pub(crate) async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, Proven), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config().ok_or_else(|| "this port has no certificate".to_owned())?;
        let accepting = TlsAcceptor::from(config).accept(stream).into_fallible();
        let accepted = timeout(HANDSHAKE_TIMEOUT, accepting).await;
        let stream = match accepted.map_err(|_| format!("no handshake within {HANDSHAKE_TIMEOUT:?}"))? {
            Ok(stream) => stream,
            Err((e, stream)) => {
                linger(stream).await;
                return Err(reason(&e));
            }
        };
        let proven = match self.port {
            Port::Peer => Proven { node: Some(self.node(&stream)?), ..Proven::default() },
            Port::Client => Proven { certificate: name(&stream), ..Proven::default() },
            Port::Http => Proven::default(),
        };
        Ok((stream, proven))
    }

    fn node<S>(&self, stream: &TlsStream<S>) -> Result<NodeId, String> {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let (Some(leaf), Some(key)) = (shown, self.tls.current().node.clone()) else {
            return Err("it has shown no certificate".to_owned());
        };
        key.nodes.node_of(leaf).map_err(|e| super::error::explain(&e))
    }
}

/// The name in the certificate of a client, if it has shown one.
fn name<S>(stream: &TlsStream<S>) -> Option<Arc<str>> {
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first)?;
    Certificate::read(shown).ok()?.name.map(Arc::from)
}

/// Lets the other side read why it was refused. In TLS 1.3 a client takes the handshake for done
/// before its certificate is judged, and has sent more by then: if that were not read, the system
/// would break the connection off, and the client see nothing but that.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let reading = async {
        stream.shutdown().await?;
        let mut rest = (&mut stream).take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // However it ends, the connection is closed.
    drop(timeout(LINGER_TIMEOUT, reading).await);
}
