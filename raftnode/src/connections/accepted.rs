//! A connection that was accepted, in its place.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

use super::places::{Place, Requests};

/// With so many bytes a connection has spoken: HTTP/2 begins with as many, and no request is
/// shorter.
const FIRST_WORDS_BYTES: usize = 24;

/// Bytes in and out. Ends by itself when its place is wanted: reading then meets the end, and
/// writing fails.
///
/// Writing lets other tasks run first. Requests that were confirmed or applied together are
/// answered by a task each, and the first of them wakes the task of the connection, which would
/// write every answer with a system call of its own.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: TcpStream,
    heard_bytes: usize,
    /// Other tasks have run since the last flush.
    has_let_others_run: bool,
    // Dropped after the stream, so that a place that is free has given back its descriptor.
    place: Place,
}

impl Accepted {
    pub(super) fn new(stream: TcpStream, place: Place) -> Self {
        Self { stream, heard_bytes: 0, has_let_others_run: false, place }
    }

    /// Counts the requests that come over it.
    pub(crate) fn requests(&self) -> Requests {
        self.place.requests()
    }

    fn heard(&mut self, bytes: usize) {
        if self.heard_bytes < FIRST_WORDS_BYTES {
            self.heard_bytes += bytes;
            if self.heard_bytes >= FIRST_WORDS_BYTES {
                self.place.has_spoken();
            }
        }
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
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        self.heard(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_for_writing(context)?;
        ready!(self.poll_others(context));
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    // Not vectored: HTTP/2 then copies answers of less than 1 KiB into one buffer, instead of
    // flushing each before it encodes the next.

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_let_others_run = false;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What tonic puts into each request, where [`counted`](super::counted) finds it.
impl Connected for Accepted {
    type ConnectInfo = Requests;

    fn connect_info(&self) -> Requests {
        self.requests()
    }
}
