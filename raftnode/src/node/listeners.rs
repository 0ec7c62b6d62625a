//! The three listening sockets, bound before anything else can act.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{Address, NodeConfig};

/// Bound and listening; connections wait in the kernel until they are served.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// For clients.
    pub client: TcpListener,
    /// For peers.
    pub raft: TcpListener,
    /// For HTTP.
    pub http: TcpListener,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({flag}); {advice}")]
pub struct BindError {
    flag: &'static str,
    address: Address,
    source: io::Error,
    advice: &'static str,
}

impl Listeners {
    /// Binds all three.
    ///
    /// # Errors
    /// [`BindError`] for the first that cannot be bound.
    pub(crate) async fn bind(config: &NodeConfig) -> Result<Self, BindError> {
        Ok(Self {
            client: bind("--client-addr", &config.client.bind).await?,
            raft: bind("--raft-addr", &config.raft.bind).await?,
            http: bind("--http-addr", &config.http.bind).await?,
        })
    }

    /// The address HTTP is served on, which is news if port 0 was asked for.
    ///
    /// # Errors
    /// If the system cannot say.
    pub(crate) fn http_addr(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }
}

async fn bind(flag: &'static str, address: &Address) -> Result<TcpListener, BindError> {
    TcpListener::bind(address.to_string()).await.map_err(|source| {
        let advice = advice(source.kind());
        BindError { flag, address: address.clone(), source, advice }
    })
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "stop the process that uses the port, or choose another port",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "choose an address of this machine and a free port",
    }
}
