//! The HTTP/2 settings that belong to [`RaftService`](crate::RaftService).

use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::options::{CONNECTION_WINDOW_BYTES, MAX_CONCURRENT_STREAMS, NetworkOptions, STREAM_WINDOW_BYTES};

/// A server for the peer listener: flow-control windows that fit the append stream, pings that
/// notice a peer which has vanished. Add `RaftService::into_server()` to it and serve [`incoming`].
#[must_use]
pub fn server_builder(options: &NetworkOptions) -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
}

/// After the system had no descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The connections of a bound listener, without Nagle's delay, and as many as come: an application
/// that must bound them makes a stream of its own.
///
/// `Server::tcp_nodelay` does nothing for a listener that the caller has bound, and with the delay
/// an answer in two parts waits 40 ms for the peer's acknowledgement. Without a descriptor for the
/// next connection it waits a little; tonic would try again at full speed.
pub fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    TcpIncoming::from(listener).with_nodelay(Some(true)).then(async |accepted| {
        if accepted.is_err() {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        accepted
    })
}
