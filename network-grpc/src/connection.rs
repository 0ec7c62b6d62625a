//! One lazily dialled, reused HTTP/2 connection to one peer.
//!
//! Owned by the pool, used by the clients of one lane. Decides when to dial: never before it is
//! needed, never more often than the backoff allows, never twice at the same time.

use std::mem::Discriminant;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::raft::v1::raft_client::RaftClient;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::connector::Dial;
use crate::error::PeerError;
use crate::identity::Incarnation;
use crate::options::{
    CONNECTION_WINDOW_BYTES, MAX_APPEND_STREAMS, MAX_MESSAGE_BYTES, NetworkOptions, STREAM_WINDOW_BYTES,
};

/// What a connection is for; each lane of a peer has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The append stream, votes, leader transfer.
    Replication,
    /// Heartbeats.
    Heartbeat,
    /// Snapshots.
    Snapshot,
}

/// A connection that was up when it was handed out.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) client: RaftClient<Channel>,
    /// Which dial it came from.
    generation: u64,
}

/// Where the peer is and which data directory it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the membership says.
    pub(crate) address: String,
    /// Where it may be as well, if it is not there.
    pub(crate) alternative: Option<String>,
    pub(crate) incarnation: Option<Incarnation>,
}

/// The application's way to the peer at an address.
pub(crate) type Way = Box<dyn Fn(&str) -> Dial + Send + Sync>;

/// The dialling side: failures in a row, when the next dial is due, and which dial was the last.
#[derive(Default)]
struct Redial {
    failures: u32,
    not_before: Option<Instant>,
    generation: u64,
}

/// Invariants: `live` holds a connection from the newest dial or none, and none to an earlier
/// place; `redial` is locked while a dial is under way, so there is at most one; `redial.failures`
/// is 0 exactly after a success.
pub(crate) struct Connection {
    place: Mutex<Place>,
    lane: Lane,
    /// None: TCP.
    way: Option<Way>,
    options: Arc<NetworkOptions>,
    live: Mutex<Option<Live>>,
    redial: tokio::sync::Mutex<Redial>,
    /// The next dial goes to the alternative address, if there is one.
    at_alternative: AtomicBool,
    noted: Mutex<Noted>,
    /// One permit per append stream whose request body the transport still holds.
    pub(crate) append_streams: Arc<Semaphore>,
}

/// Timeouts in a row that make a peer silent. A single one is a busy machine: a heartbeat is given
/// little more than 100 ms.
const SILENT_AFTER_TIMEOUTS: u32 = 3;

/// What has been logged of a peer.
#[derive(Debug, Default)]
struct Noted {
    logged: Option<Discriminant<PeerError>>,
    timeouts: u32,
}

impl Noted {
    /// Takes note of how a call went; answers whether to log it.
    fn is_news(&mut self, error: Option<&PeerError>) -> bool {
        let timed_out = matches!(error, Some(PeerError::TimedOut { .. }));
        self.timeouts = if timed_out { self.timeouts.saturating_add(1) } else { 0 };
        if timed_out && self.timeouts < SILENT_AFTER_TIMEOUTS {
            return false;
        }
        let kind = error.map(std::mem::discriminant);
        std::mem::replace(&mut self.logged, kind) != kind
    }
}

impl Connection {
    /// Dials nothing.
    pub(crate) fn new(place: Place, lane: Lane, way: Option<Way>, options: Arc<NetworkOptions>) -> Self {
        Self {
            place: Mutex::new(place),
            lane,
            way,
            options,
            live: Mutex::new(None),
            redial: tokio::sync::Mutex::default(),
            at_alternative: AtomicBool::new(false),
            noted: Mutex::default(),
            append_streams: Arc::new(Semaphore::new(MAX_APPEND_STREAMS)),
        }
    }

    /// The connection, dialled if there is none.
    ///
    /// The dial runs in a task of its own: a caller with a short deadline (a heartbeat) that gives
    /// up does not abort it, and the next caller finds it done.
    pub(crate) async fn live(self: &Arc<Self>) -> Result<Live, PeerError> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let this = Arc::clone(self);
        match tokio::spawn(async move { this.dial_once().await }).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out("connection", self.options.connect_timeout)),
        }
    }

    /// Where the peer is, as the membership has it now.
    pub(crate) fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn address(&self) -> String {
        self.place().address
    }

    /// The membership describes the peer anew. At another address the next call dials anew, also
    /// for sessions that were opened before: openraft keeps them when only an address has changed.
    pub(crate) fn moved_to(&self, place: Place) {
        let mut current = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if (&current.address, &current.alternative) != (&place.address, &place.alternative) {
            *self.live.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.at_alternative.store(false, Ordering::Relaxed);
        }
        *current = place;
    }

    /// Forgets `live` if it is still the current connection, so that the next call dials anew.
    pub(crate) fn discard(&self, live: &Live) {
        let mut current = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|c| c.generation == live.generation) {
            *current = None;
        }
    }

    /// Another node answers at the address of `live`. The next dial goes to the other one; without
    /// a second address the connection stays: the stranger would be met again at once.
    pub(crate) fn turn_away(&self, live: &Live) {
        if self.place().alternative.is_none() {
            return;
        }
        let mut current = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|c| c.generation == live.generation) {
            *current = None;
            self.at_alternative.fetch_xor(true, Ordering::Relaxed);
        }
    }

    /// Logs the first failure of a kind and the recovery from it, not every heartbeat in between.
    pub(crate) fn note(&self, error: Option<&PeerError>) {
        if let Some(PeerError::BackingOff { .. }) = error {
            return; // The failed dial before it was noted.
        }
        if !self.noted.lock().unwrap_or_else(PoisonError::into_inner).is_news(error) {
            return;
        }
        match error {
            None => tracing::info!(peer = %self.address(), lane = ?self.lane, "peer answers again"),
            Some(error) => {
                let error = error as &(dyn std::error::Error + 'static);
                tracing::warn!(peer = %self.address(), lane = ?self.lane, error, "peer does not answer");
            }
        }
    }

    pub(crate) fn timed_out(&self, awaited: &'static str, after: Duration) -> PeerError {
        PeerError::TimedOut { address: self.address(), awaited, after }
    }

    pub(crate) fn bad_answer(&self, reason: impl Into<String>) -> PeerError {
        PeerError::BadAnswer { address: self.address(), reason: reason.into() }
    }

    fn current(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn dial_once(&self) -> Result<Live, PeerError> {
        let mut redial = self.redial.lock().await;
        if let Some(live) = self.current() {
            return Ok(live); // Another caller dialled while this one waited.
        }
        self.due(&redial)?;
        let place = self.place();
        let second = place.alternative.as_ref().filter(|_| self.at_alternative.load(Ordering::Relaxed));
        let address = second.unwrap_or(&place.address).clone();
        match self.dial(address).await {
            Ok(channel) => Ok(self.established(&mut redial, &place, channel)),
            Err(error) => {
                redial.failures = redial.failures.saturating_add(1);
                // In turn, so that neither address keeps the other from being tried.
                self.at_alternative.fetch_xor(true, Ordering::Relaxed);
                redial.not_before = Some(Instant::now() + self.pause(redial.failures));
                Err(error)
            }
        }
    }

    fn due(&self, redial: &Redial) -> Result<(), PeerError> {
        let now = Instant::now();
        match redial.not_before.filter(|at| *at > now) {
            None => Ok(()),
            Some(at) => Err(PeerError::BackingOff {
                address: self.address(),
                retry_in: at - now,
                failures: redial.failures,
            }),
        }
    }

    fn established(&self, redial: &mut Redial, dialled: &Place, channel: Channel) -> Live {
        // The pause also follows a success: a peer that accepts and hangs up is not dialled in a
        // loop.
        let generation = redial.generation + 1;
        *redial =
            Redial { failures: 0, not_before: Some(Instant::now() + self.options.redial_min), generation };
        let client = RaftClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let live = Live { client, generation };
        // A peer that has moved while it was dialled is dialled again by the next call.
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if (&place.address, &place.alternative) == (&dialled.address, &dialled.alternative) {
            *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
        }
        live
    }

    async fn dial(&self, address: String) -> Result<Channel, PeerError> {
        let after = self.options.connect_timeout;
        let endpoint = self.endpoint(&address)?;
        let connecting = async {
            match &self.way {
                None => endpoint.connect().await,
                Some(way) => endpoint.connect_with_connector(way(&address)).await,
            }
        };
        match timeout(after, connecting).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(e)) => Err(PeerError::Connect { address, source: Box::new(e) }),
            Err(_) => Err(self.timed_out("connection", after)),
        }
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, PeerError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| PeerError::BadAddress { address: address.to_owned(), source: Box::new(e) })?;
        Ok(endpoint
            .connect_timeout(self.options.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .keep_alive_while_idle(true))
    }

    /// Doubling and capped; half of it random, so that nodes do not dial in step.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.options.redial_min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.options.redial_max).mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_heartbeat_is_not_news_and_silence_is_logged_once() {
        let timeout = PeerError::TimedOut {
            address: String::new(),
            awaited: "answer",
            after: Duration::from_millis(100),
        };
        let mut noted = Noted::default();
        assert!(!noted.is_news(Some(&timeout)) && !noted.is_news(None));
        let news: Vec<bool> = (0..5).map(|_| noted.is_news(Some(&timeout))).collect();
        assert_eq!(news, [false, false, true, false, false]);
        assert!(noted.is_news(None) && !noted.is_news(None));
    }
}
