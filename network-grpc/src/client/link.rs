//! An open append stream: the wire below a session.

use std::time::Duration;

use proto::raft::v1::{AppendRequest, AppendResponse};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::client::Peer;
use crate::client::body::{Body, Cancel};
use crate::connection::Live;
use crate::error::PeerError;
use crate::options::MAX_INFLIGHT_MESSAGES;

/// Dropping it ends the request body at once, with whatever is still queued.
pub(super) struct Link {
    /// `None` once the last request was sent.
    requests: Option<mpsc::Sender<AppendRequest>>,
    responses: Streaming<AppendResponse>,
    live: Live,
    _cancel: Cancel,
}

impl Link {
    /// Opens a stream with `first` as its first message, within `ttl`, dialling if necessary.
    pub(super) async fn open(peer: &Peer, first: AppendRequest, ttl: Duration) -> Result<Self, PeerError> {
        match timeout(ttl, Self::open_forever(peer, first)).await {
            Ok(result) => result,
            Err(_) => Err(peer.connection.timed_out("append stream", ttl)),
        }
    }

    async fn open_forever(peer: &Peer, mut first: AppendRequest) -> Result<Self, PeerError> {
        first.header = Some(peer.header()?);
        let live = peer.connection.live().await?;
        // Waits only if earlier streams were abandoned and the transport has not let go of them.
        let permit = peer.connection.append_streams.clone().acquire_owned().await.ok();
        let (requests, queue) = mpsc::channel(MAX_INFLIGHT_MESSAGES);
        let (body, cancel) = Body::new(queue, permit);
        let _ = requests.try_send(first); // The queue is empty and open.
        let responses = match live.client.clone().stream_append(body).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(peer.failed(&live, status)),
        };
        Ok(Self { requests: Some(requests), responses, live, _cancel: cancel })
    }

    /// Queues a message. The session's in-flight bound keeps the queue from being full; a queue
    /// that the transport has closed shows as a failed response, so the message may be dropped
    /// here.
    pub(super) fn send(&self, message: AppendRequest) {
        if let Some(requests) = &self.requests {
            let _ = requests.try_send(message);
        }
    }

    /// No more requests: the peer answers what it has and ends the stream.
    pub(super) fn finish(&mut self) {
        self.requests = None;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.requests.is_none()
    }

    /// The next answer, `None` at the end. Cancel safe.
    pub(super) async fn answer(&mut self) -> Result<Option<AppendResponse>, Status> {
        self.responses.message().await
    }

    pub(super) fn live(&self) -> &Live {
        &self.live
    }
}

impl Peer {
    /// Sorts a failed call, and gives up the connection if that was the cause.
    pub(super) fn failed(&self, live: &Live, status: Status) -> PeerError {
        let error = PeerError::from_status(&self.connection.address(), status);
        if error.breaks_connection() {
            self.connection.discard(live);
        } else if error.is_of_a_stranger() {
            self.connection.turn_away(live);
        }
        error
    }
}
