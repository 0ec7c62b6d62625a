//! The server beneath the paths: HTTP/1.1, with bounds on what connections can cost.
//!
//! Anybody who reaches the port may connect, and a connection costs a descriptor, of which the storage needs some too. So
//! there are only so many, and none stays that asks nothing.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time; further ones wait in the kernel until one of these ends.
pub const MAX_HTTP_CONNECTIONS: usize = 256;
/// How long the head of a request may take, from the connection or the answer before: a connection that asks nothing for so
/// long is closed.
pub const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// After the system had no descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Bounds on connections.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// At a time.
    pub connections: usize,
    /// For the head of a request.
    pub header_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { connections: MAX_HTTP_CONNECTIONS, header_timeout: HTTP_HEADER_TIMEOUT }
    }
}

/// Serves until `stopped`, then answers what is under way.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    stopped: impl Future<Output = ()>,
) {
    let builder = connections(limits);
    let places = Arc::new(Semaphore::new(limits.connections));
    let under_way = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let (place, stream) = tokio::select! {
            () = &mut stopped => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = under_way.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(error, "an HTTP connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    under_way.shutdown().await;
}

fn connections(limits: HttpLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    builder
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream) {
    // Nobody closes the semaphore.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (place, stream),
            Err(e) if is_of_the_connection(&e) => {}
            Err(e) => {
                tracing::debug!("cannot accept an HTTP connection: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Its other end has given up; the listener is well.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;

    const HEADER_TIMEOUT: Duration = Duration::from_millis(400);
    /// How long anything here may take.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn start(connections: usize) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let slow = async || {
            tokio::time::sleep(2 * HEADER_TIMEOUT).await;
            "slow"
        };
        let router = Router::new().route("/", get(async || "here")).route("/slow", get(slow));
        let (stop, stopped) = oneshot::channel();
        let limits = HttpLimits { connections, header_timeout: HEADER_TIMEOUT };
        let served = serve(listener, router, limits, async move { drop(stopped.await) });
        (addr, stop, tokio::spawn(served))
    }

    /// What comes back until the end of the connection.
    async fn exchange(addr: SocketAddr, sent: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("the connection ends").unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// One that is silent, one that is silent in the middle of a head, one that sends a head letter by letter, one that asked
    /// before: all are closed. One that waits for a slow answer is not.
    #[tokio::test]
    async fn a_connection_that_asks_nothing_is_closed() {
        let (addr, _stop, _task) = start(10).await;
        assert_eq!(exchange(addr, "").await, "");
        assert!(!exchange(addr, "GET / HTTP/1.1\r\nHost: x\r\n").await.contains("here"));
        assert!(exchange(addr, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("here"));
        assert!(exchange(addr, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("slow"));

        let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
        let dripping = tokio::spawn(async move {
            let mut letters = 0;
            // Fails once the other side has closed.
            while write.write_all(b"x").await.is_ok() {
                letters += 1;
                tokio::time::sleep(HEADER_TIMEOUT / 10).await;
            }
            letters
        });
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, read.read_to_end(&mut answer)).await;
        // Closed with unread letters is a reset.
        drop(ended.expect("the connection ends"));
        assert!(dripping.await.unwrap() < 100);
    }

    /// As many silent connections as there are places: the next request waits for one to be closed, and is answered.
    #[tokio::test]
    async fn silent_connections_do_not_keep_others_out_for_long() {
        let (addr, _stop, _task) = start(2).await;
        let mut silent = [TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap()];
        let started = Instant::now();
        let answer = exchange(addr, "GET / HTTP/1.0\r\n\r\n").await;
        assert!(answer.ends_with("here"), "{answer}");
        assert!(started.elapsed() >= HEADER_TIMEOUT / 2, "there was a third place: {:?}", started.elapsed());
        for stream in &mut silent {
            assert_eq!(rest(stream).await, "");
        }
    }

    #[tokio::test]
    async fn what_is_under_way_is_answered_before_the_end() {
        let (addr, stop, task) = start(2).await;
        let mut slow = TcpStream::connect(addr).await.unwrap();
        slow.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut other = TcpStream::connect(addr).await.unwrap();
        other.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        // Its answer shows that the connection before was accepted.
        let mut first = [0; 12];
        other.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, task).await.expect("it ends").unwrap();
        assert!(rest(&mut slow).await.ends_with("slow"));
        assert!(TcpStream::connect(addr).await.is_err(), "it still listens");
    }
}
