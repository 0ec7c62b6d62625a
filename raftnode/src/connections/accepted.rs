//! A connection that was accepted, in its place.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::places::{Place, Requests};
use super::refused::Refused;
use crate::tls::FIRST_BYTE_OF_TLS;

/// With so many bytes a connection has spoken: HTTP/2 begins with as many, and no request is
/// shorter.
const FIRST_WORDS_BYTES: usize = 24;

/// Bytes in and out. Ends by itself when its place is wanted: reading then meets the end, and
/// writing fails.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: TcpStream,
    heard_bytes: usize,
    /// Where TLS has no place is told, if the first byte is of that.
    without_tls: Option<Arc<Refused>>,
    // Dropped after the stream, so that a place that is free has given back its descriptor.
    place: Place,
}

impl Accepted {
    pub(super) fn new(stream: TcpStream, place: Place) -> Self {
        Self { stream, heard_bytes: 0, without_tls: None, place }
    }

    /// The other side may speak anything but TLS.
    pub(super) fn without_tls(self, refused: Arc<Refused>) -> Self {
        Self { without_tls: Some(refused), ..self }
    }

    /// The other side's address, if it is still there.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// What the other side says first, once it does, and which is still to be read. None: it has
    /// said nothing and hung up, or the place is wanted.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let heard = poll_fn(|context| {
            if self.place.is_closed_for_reading(context.waker()) {
                return Poll::Ready(Ok(0));
            }
            self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte))
        });
        Ok((heard.await? > 0).then_some(byte[0]))
    }

    /// Counts the requests that come over it.
    pub(crate) fn requests(&self) -> Requests {
        self.place.requests()
    }

    fn heard(&mut self, bytes: &[u8]) {
        if let (Some(FIRST_BYTE_OF_TLS), Some(refused)) = (bytes.first().copied(), self.without_tls.take()) {
            refused.say(self.peer(), &"it speaks TLS, and this port has no certificate for that");
        }
        if self.heard_bytes < FIRST_WORDS_BYTES {
            self.heard_bytes += bytes.len();
            if self.heard_bytes >= FIRST_WORDS_BYTES {
                self.place.has_spoken();
            }
        }
    }

    fn check_for_writing(&self, context: &Context<'_>) -> io::Result<()> {
        if self.place.is_closed_for_writing(context.waker()) {
            return Err(io::Error::new(ErrorKind::BrokenPipe, "closed to make room for another connection"));
        }
        Ok(())
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.place.is_closed_for_reading(context.waker()) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        self.heard(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_for_writing(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
