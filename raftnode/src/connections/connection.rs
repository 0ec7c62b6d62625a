//! A connection that requests come over.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::accepted::Accepted;
use super::places::Requests;
use crate::raft::NodeId;
use crate::tls::Proven;

/// Bytes in and out, as a server sees them.
///
/// Writing lets other tasks run first. Requests that were confirmed or applied together are
/// answered by a task each, and the first of them wakes the task of the connection, which would
/// write every answer with a system call of its own.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    origin: Origin,
    /// Other tasks have run since the last flush.
    has_let_others_run: bool,
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
    /// The name in the certificate that was verified, on the port for clients.
    pub(crate) certificate: Option<Arc<str>>,
    /// It is over TLS.
    pub(crate) is_encrypted: bool,
    /// The other side's address.
    pub(crate) peer: Option<SocketAddr>,
}

impl Connection {
    pub(super) fn plain(accepted: Accepted) -> Self {
        let (requests, peer) = (accepted.requests(), accepted.peer());
        let origin = Origin { requests, node: None, certificate: None, is_encrypted: false, peer };
        Self { wire: Wire::Plain(accepted), origin, has_let_others_run: false }
    }

    pub(super) fn secured(stream: TlsStream<Accepted>, proven: Proven) -> Self {
        let Proven { node, certificate } = proven;
        let accepted = stream.get_ref().0;
        let (requests, peer) = (accepted.requests(), accepted.peer());
        let origin = Origin { requests, node, certificate, is_encrypted: true, peer };
        Self { wire: Wire::Secured(Box::new(stream)), origin, has_let_others_run: false }
    }

    /// The first time after a flush it is not ready, and has the task wait behind the others that
    /// are to run.
    fn poll_others(&mut self, context: &Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_let_others_run, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
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
        ready!(self.poll_others(context));
        match &mut self.wire {
            Wire::Plain(accepted) => Pin::new(accepted).poll_write(context, bytes),
            Wire::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    // Not vectored: HTTP/2 then copies answers of less than 1 KiB into one buffer, instead of
    // flushing each before it encodes the next.

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_let_others_run = false;
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
