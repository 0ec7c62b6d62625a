//! The request body of a stream: a queue that ends at once when its owner is gone.
//!
//! The transport polls the body in a task of its own and would go on sending what is queued after
//! the call was abandoned. openraft may by then have opened the next stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{FutureExt, Stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Keeps the body alive; dropping it ends the body.
pub(super) struct Cancel {
    _alive: oneshot::Sender<()>,
}

pub(super) struct Body<T> {
    queue: mpsc::Receiver<T>,
    cancelled: oneshot::Receiver<()>,
    /// Held as long as the transport holds the body.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T> Body<T> {
    pub(super) fn new(queue: mpsc::Receiver<T>, permit: Option<OwnedSemaphorePermit>) -> (Self, Cancel) {
        let (alive, cancelled) = oneshot::channel();
        (Self { queue, cancelled, _permit: permit }, Cancel { _alive: alive })
    }
}

impl<T> Stream for Body<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // The oneshot is never sent to: it resolves when its sender is dropped.
        if self.cancelled.poll_unpin(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.queue.poll_recv(cx)
    }
}
