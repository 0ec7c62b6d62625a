//! The connections of one listener, once they have shown what they must.

use std::io;
use std::sync::Arc;

use futures_util::stream::{BoxStream, unfold};
use futures_util::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::accepted::Accepted;
use super::door::Door;
use super::refused::Refused;
use super::{Connection, Places};
use crate::tls::{FIRST_BYTE_OF_TLS, HANDSHAKE_TIMEOUT, PortTls};

/// TLS handshakes under way on one listener. Each runs in a task of its own and has a deadline, so
/// that a client which stops half way takes one of these for a few seconds and holds up no other.
const MAX_HANDSHAKES: usize = 256;

/// A listener whose connections each have a place, and have gone through their TLS handshake if the
/// port has TLS.
pub(crate) struct Incoming {
    accepted: BoxStream<'static, Accepted>,
    refused: Arc<Refused>,
    tls: Option<PortTls>,
    /// Aborted when this is dropped.
    handshakes: JoinSet<Option<Connection>>,
}

impl Incoming {
    /// `name` is for messages.
    pub(crate) fn new(name: &'static str, listener: TcpListener, places: Places) -> Self {
        let accepted = Door::new(name, listener, places).into_stream().boxed();
        Self { accepted, refused: Arc::new(Refused::by(name)), tls: None, handshakes: JoinSet::new() }
    }

    /// With TLS, if there is any.
    pub(crate) fn secured(self, tls: Option<PortTls>) -> Self {
        Self { tls, ..self }
    }

    /// The next connection. If the call is given up, none is lost.
    pub(crate) async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    // A handshake that panicked has said so.
                    if let Ok(Some(connection)) = ended {
                        return connection;
                    }
                }
                Some(accepted) = self.accepted.next(), if self.handshakes.len() < MAX_HANDSHAKES => {
                    let refused = Arc::clone(&self.refused);
                    match self.tls.clone() {
                        None => return Connection::plain(accepted.without_tls(refused)),
                        Some(tls) => drop(self.handshakes.spawn(shake_hands(accepted, tls, refused))),
                    }
                }
            }
        }
    }

    /// The same, as tonic takes it.
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        unfold(self, async |mut incoming| Some((Ok(incoming.next().await), incoming)))
    }
}

/// None: there is no connection; the reason was said.
async fn shake_hands(accepted: Accepted, tls: PortTls, refused: Arc<Refused>) -> Option<Connection> {
    let peer = accepted.peer();
    let first = timeout(HANDSHAKE_TIMEOUT, accepted.first_byte()).await;
    // A connection that ends before it has begun, as a health check's, is not worth a word.
    match first.ok()?.ok()?? {
        FIRST_BYTE_OF_TLS => match tls.accept(accepted).await {
            Ok((stream, proven)) => Some(Connection::secured(stream, proven)),
            Err(reason) => {
                refused.say(peer, &reason);
                None
            }
        },
        _ if tls.allows_plaintext => Some(Connection::plain(accepted)),
        _ => {
            refused.say(
                peer,
                &"it does not speak TLS, which this port demands; give it the CA, or start this node with \
                 --allow-plaintext while it changes over",
            );
            None
        }
    }
}
