//! How a connection to a peer is made: TCP, unless the application has another way, as TLS.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::Service;
use tonic::transport::Uri;

/// Bytes to and from a peer.
pub trait PeerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PeerStream for T {}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn PeerStream>>> + Send>>;

/// Makes the connections to peers in the application's way. `I` is the node id.
///
/// The deadline is the caller's: a connection that takes too long is given up.
pub trait Connector<I>: Send + Sync + 'static {
    /// The way to `target`, which should be at `address` (`host:port`). What answers there and is
    /// another node is an error.
    fn dial(&self, target: &I, address: &str) -> Dial;
}

/// The way to one peer: connects as often as it is asked to. As a `tower` service it is what
/// tonic's `Endpoint::connect_with_connector` takes. Cheap to clone.
#[derive(Clone)]
pub struct Dial(Arc<dyn Fn() -> Connecting + Send + Sync>);

impl Dial {
    /// Connects by this function.
    pub fn new(connect: impl Fn() -> Connecting + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Box<dyn PeerStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The address is in the function that this was made of.
    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = (self.0)();
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}
