//! A connection that requests come over.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::accepted::Accepted;
use super::places::Requests;
use crate::raft::NodeId;

/// Bytes in and out, as a server sees them.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    origin: Origin,
}

#[derive(Debug)]
enum Wire {
    Plain(Accepted),
    // Boxed: some kilobytes that a connection without TLS does not have.
    Secured(Box<TlsStream<Accepted>>),
}

/// What each request knows of the connection that it came over. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Counts them.
    pub(crate) requests: Requests,
    /// The node whose certificate was verified, on the port for peers.
    pub(crate) node: Option<NodeId>,
}

impl Connection {
    pub(super) fn plain(accepted: Accepted) -> Self {
        let origin = Origin { requests: accepted.requests(), node: None };
        Self { wire: Wire::Plain(accepted), origin }
    }

    pub(super) fn secured(stream: TlsStream<Accepted>, node: Option<NodeId>) -> Self {
        let origin = Origin { requests: stream.get_ref().0.requests(), node };
        Self { wire: Wire::Secured(Box::new(stream)), origin }
    }

    /// Where its requests come from.
    pub(crate) fn origin(&self) -> Origin {
        self.origin.clone()
    }
}

/// What tonic puts into each request, where [`counted`](super::counted) finds it.
impl Connected for Connection {
    type ConnectInfo = Origin;

    fn connect_info(&self) -> Origin {
        self.origin()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(accepted) => Pin::new(accepted).poll_read(context, buf),
            Wire::Secured(stream) => Pin::new(stream).poll_read(context, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(accepted) => Pin::new(accepted).poll_write(context, bytes),
            Wire::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Plain(accepted) => Pin::new(accepted).poll_write_vectored(context, pieces),
            Wire::Secured(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Plain(accepted) => accepted.is_write_vectored(),
            Wire::Secured(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(accepted) => Pin::new(accepted).poll_flush(context),
            Wire::Secured(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Plain(accepted) => Pin::new(accepted).poll_shutdown(context),
            Wire::Secured(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
