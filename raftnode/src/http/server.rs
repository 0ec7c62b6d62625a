//! The server beneath the paths: HTTP/1.1, with a bound on what a connection can cost. How many
//! there may be, and which have to go, is decided by [`connections`](crate::connections).

use std::pin::pin;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::connections::{CLOCK_ADVICE, Connection, Incoming, counted, is_before_1970};

/// How long the head of a request may take, from the connection or the answer before: a connection
/// that asks nothing for so long is closed.
pub(crate) const HTTP_HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves until `stopped`, then answers what is under way.
pub(crate) async fn serve(
    mut incoming: Incoming,
    router: Router,
    header_timeout: Duration,
    stopped: impl Future<Output = ()>,
) {
    let builder = builder(header_timeout);
    let router = counted(router);
    let under_way = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = incoming.next() => accepted,
        };
        if is_before_1970() {
            tokio::spawn(refuse(accepted));
            continue;
        }
        let service = TowerToHyperService::new(router.clone().layer(Extension(accepted.origin())));
        let connection = builder.serve_connection(TokioIo::new(accepted), service).into_owned();
        let connection = under_way.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(error, "an HTTP connection ended");
            }
        });
    }
    drop(incoming);
    under_way.shutdown().await;
}

/// Without hyper, which would panic. An error means that the other side has gone.
async fn refuse(mut accepted: Connection) {
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{CLOCK_ADVICE}\n", CLOCK_ADVICE.len() + 1);
    let mut ignored = [0; 4096];
    let exchange = async {
        // A request, or a part of it: closing an unread connection resets it.
        let _part = accepted.read(&mut ignored).await?;
        accepted.write_all(answer.as_bytes()).await?;
        accepted.shutdown().await
    };
    let _ = tokio::time::timeout(HTTP_HEADER_TIMEOUT, exchange).await;
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    builder
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::*;
    use crate::connections::{Patience, Places};

    const HEADER_TIMEOUT: Duration = Duration::from_millis(400);
    /// How long anything here may take.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Nothing makes room but the timeout of a head.
    const PATIENT: Patience = Patience { silent: PATIENCE, room_after: PATIENCE, idle: PATIENCE };

    async fn start(connections: usize) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let slow = async || {
            tokio::time::sleep(2 * HEADER_TIMEOUT).await;
            "slow"
        };
        let router = Router::new().route("/", get(async || "here")).route("/slow", get(slow));
        let (stop, stopped) = oneshot::channel();
        let incoming = Incoming::new("HTTP", listener, Places::new(connections, PATIENT));
        let served = serve(incoming, router, HEADER_TIMEOUT, async move { drop(stopped.await) });
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

    /// One that is silent, one that is silent in the middle of a head, one that sends a head letter
    /// by letter, one that asked before: all are closed. One that waits for a slow answer is not.
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

    /// As many silent connections as there are places: the next request waits for one to be closed,
    /// and is answered.
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
