//! Where connections of one listener come in, each into a place.

use std::io;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::accepted::Accepted;
use super::{Place, Places};
use crate::throttle::Throttle;

/// After the system had no descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often connections that have sent nothing are looked for.
const SILENT_INTERVAL: Duration = Duration::from_millis(500);
/// That there are as many connections as there may be is said once in such a time.
const SCARCE_INTERVAL: Duration = Duration::from_secs(60);
/// Between two attempts to make room. A connection that was closed has let go of its place long
/// before.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// A listener whose connections each have a place. One more is accepted than there are places: it
/// waits for its own, so that another one makes room only where there is need.
pub(super) struct Door {
    /// For messages.
    name: &'static str,
    listener: TcpListener,
    places: Places,
    look_for_silent: Instant,
    said_scarce: Option<Instant>,
    failed: Throttle,
}

impl Door {
    pub(super) fn new(name: &'static str, listener: TcpListener, places: Places) -> Self {
        Self {
            name,
            listener,
            places,
            look_for_silent: Instant::now() + SILENT_INTERVAL,
            said_scarce: None,
            failed: Throttle::default(),
        }
    }

    /// The next connection, once there is a place for it. Closes those that have sent nothing
    /// meanwhile. If the call is given up, a connection that waits for its place is closed.
    async fn next(&mut self) -> Accepted {
        let stream = loop {
            tokio::select! {
                stream = accept(&self.listener, self.name, &self.failed) => break stream,
                () = sleep_until(self.look_for_silent) => self.close_silent(),
            }
        };
        // An answer in two parts must not wait 40 ms for the other side to confirm the first.
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {e}");
        }
        Accepted::new(stream, self.place().await)
    }

    /// The same again and again. A connection that waits for its place goes on waiting if the
    /// stream is not polled.
    pub(super) fn into_stream(self) -> impl Stream<Item = Accepted> {
        unfold(self, async |mut door| Some((door.next().await, door)))
    }

    async fn place(&mut self) -> Place {
        loop {
            if let Some(place) = self.places.take() {
                return place;
            }
            self.say_scarce();
            self.places.make_room();
            // Passing without a free place is no failure: then it is looked for again.
            let _ = timeout(ROOM_PAUSE, self.places.freed()).await;
            self.close_silent();
        }
    }

    fn close_silent(&mut self) {
        if self.look_for_silent <= Instant::now() {
            self.places.close_silent();
            self.look_for_silent = Instant::now() + SILENT_INTERVAL;
        }
    }

    fn say_scarce(&mut self) {
        if self.said_scarce.is_none_or(|at| at.elapsed() >= SCARCE_INTERVAL) {
            self.said_scarce = Some(Instant::now());
            tracing::warn!(
                "the {} listener has {} connections, as many as it may: the next one waits until one of them is \
                 idle and closed (a higher limit of open files allows more)",
                self.name,
                self.places.bound()
            );
        }
    }
}

/// Whatever waits for a first word from the other side would hold up the end.
impl Drop for Door {
    fn drop(&mut self) {
        self.places.close_all_silent();
    }
}

async fn accept(listener: &TcpListener, name: &str, failed: &Throttle) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(e) if is_of_the_connection(&e) => {}
            Err(e) => {
                if let Some(suppressed) = failed.allow() {
                    tracing::warn!(suppressed, "the {name} listener cannot accept a connection now: {e}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Its other end has given up; the listener is well.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
