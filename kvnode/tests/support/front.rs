//! A port in front of a node's own that can fall silent, as the port of a host that froze: it still
//! takes connections, and answers nothing. And one that closes what passes through it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How often a silent connection looks whether it still has to be.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Open until it is dropped.
#[derive(Debug)]
pub struct Front {
    addr: String,
    hang_ups: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// In front of `to`. A connection that begins while `silent` says so is read and never
    /// answered, and closed when `silent` says no more; every other one is passed on for as long as
    /// it lasts.
    pub async fn of(to: String, silent: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port").to_string();
        let hang_ups = watch::Sender::new(());
        let accepting = tokio::spawn(accept(listener, to, Arc::new(silent), hang_ups.clone()));
        Self { addr, hang_ups, accepting }
    }

    /// Closes every connection that is passed on, and goes on accepting.
    pub fn hang_up(&self) {
        self.hang_ups.send_replace(());
    }

    /// `host:port`.
    pub fn addr(&self) -> &str {
        &self.addr
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    to: String,
    silent: Arc<impl Fn() -> bool + Send + Sync + 'static>,
    hang_ups: watch::Sender<()>,
) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        if silent() {
            connections.spawn(swallow(connection, silent.clone()));
        } else {
            connections.spawn(pass_on(connection, to.clone(), hang_ups.subscribe()));
        }
    }
}

async fn pass_on(mut connection: TcpStream, to: String, mut hang_ups: watch::Receiver<()>) {
    // An error ends the connection, which is all that either side needs to know.
    if let Ok(mut node) = TcpStream::connect(to).await {
        tokio::select! {
            ended = copy_bidirectional(&mut connection, &mut node) => drop(ended),
            hung_up = hang_ups.changed() => drop(hung_up),
        }
    }
}

async fn swallow(mut connection: TcpStream, silent: Arc<impl Fn() -> bool + Send + Sync>) {
    let mut bytes = [0; 4096];
    while silent() {
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(LOOK_AGAIN, connection.read(&mut bytes)).await {
            return;
        }
    }
}
